// The form of a rule: a word that is pressed is put where somebody writes.
"use strict";

(() => {
  let last = document.querySelector("[data-condition]");
  document.addEventListener("focusin", (event) => {
    if (event.target.matches("[data-condition]")) last = event.target;
  });
  document.addEventListener("click", (event) => {
    const word = event.target.closest("[data-word]");
    if (!word || !last) return;
    const before = last.value.slice(0, last.selectionStart);
    const gap = before && !/[\s(]$/.test(before) ? " " : "";
    last.setRangeText(gap + word.dataset.word, last.selectionStart, last.selectionEnd, "end");
    last.focus();
    last.dispatchEvent(new Event("input", { bubbles: true }));
  });
})();
