// Seconds that run down between two looks at the server. An element says how many were left when
// it was written; the page counts from when it first saw it, so no clock has to be right.
"use strict";

(() => {
  const seen = new WeakMap();
  const two = (n) => String(n).padStart(2, "0");
  const written = (left) => {
    const hours = Math.floor(left / 3600);
    const minutes = Math.floor((left % 3600) / 60);
    return hours ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
  };
  const look = () => {
    const now = performance.now();
    for (const element of document.querySelectorAll("[data-left]")) {
      if (!seen.has(element)) seen.set(element, now);
      const left = Math.round(Number(element.dataset.left) - (now - seen.get(element)) / 1000);
      const text = left > 0 ? written(left) : element.dataset.over;
      if (element.textContent !== text) element.textContent = text;
      element.classList.toggle("is-over", left <= 0);
    }
  };
  look();
  setInterval(look, 1000);
  document.addEventListener("patched", look);
})();
