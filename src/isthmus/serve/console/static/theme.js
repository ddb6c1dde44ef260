// Runs before the first paint, so that no page flashes in the wrong colours. Without it, the system decides.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const wanted = localStorage.getItem("isthmus-theme");
    if (wanted === "light" || wanted === "dark") root.dataset.theme = wanted;
  } catch { /* storage is off: the system decides */ }
})();
