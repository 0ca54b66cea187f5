// Signing with a finger or mouse: the strokes become an SVG path in the form's hidden field.
"use strict";

document.querySelectorAll("[data-signature]").forEach((pad) => {
  const form = pad.closest("form");
  const path = pad.querySelector("path");
  const field = form.querySelector("input[name=strokes]");
  let drawing = false;

  function place(event) {
    const box = pad.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 400;
    const y = ((event.clientY - box.top) / box.height) * 140;
    return Math.round(Math.min(400, Math.max(0, x))) + " " + Math.round(Math.min(140, Math.max(0, y)));
  }

  function keep(text) {
    field.value = text;
    path.setAttribute("d", text);
  }

  pad.addEventListener("pointerdown", (event) => {
    drawing = true;
    pad.setPointerCapture(event.pointerId);
    keep(field.value + "M" + place(event));
    event.preventDefault();
  });
  pad.addEventListener("pointermove", (event) => {
    if (drawing && field.value.length < 50000) keep(field.value + "L" + place(event));
  });
  ["pointerup", "pointercancel"].forEach((name) => pad.addEventListener(name, () => { drawing = false; }));
  form.querySelector("[data-signature-clear]").addEventListener("click", () => keep(""));
});
