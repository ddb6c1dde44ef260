// What makes the console quicker to use: colours, copying, keys. Every page can be read without it.
"use strict";
(() => {
  const said = document.getElementById("said");
  const say = (text) => { if (said) said.textContent = text; };

  // Colours: as the system has them, light, dark.
  const themes = ["system", "light", "dark"];
  const labels = { system: "Colours: as the system has them", light: "Colours: light", dark: "Colours: dark" };
  const current = () => document.documentElement.dataset.theme || "system";
  const button = document.querySelector(".js-theme");
  const show = () => { if (button) { button.setAttribute("aria-label", labels[current()]); button.title = labels[current()]; } };
  if (button) {
    show();
    button.addEventListener("click", () => {
      const next = themes[(themes.indexOf(current()) + 1) % themes.length];
      if (next === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try { localStorage.setItem("isthmus-theme", next); } catch { /* for this page only, then */ }
      show();
      say(labels[next]);
    });
  }

  // Copying. Browsers have a clipboard only where the page came by TLS; a selection works everywhere.
  const select = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    area.setAttribute("aria-hidden", "true");
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  document.addEventListener("click", async (event) => {
    const copier = event.target.closest("[data-copy]");
    if (!copier) return;
    const from = document.getElementById(copier.dataset.copy);
    if (!from) return;
    const text = from.dataset.full || from.textContent.trim();
    let done = false;
    try { await navigator.clipboard.writeText(text); done = true; } catch { done = select(text); copier.focus(); }
    say(done ? "Copied" : "It could not be copied");
    const word = copier.querySelector("span");
    if (word) word.textContent = done ? "Copied" : "Not copied";
    copier.classList.toggle("done", done);
    setTimeout(() => { if (word) word.textContent = "Copy"; copier.classList.remove("done"); }, 1600);
  });

  // Keys: / goes to the search; arrows go from it through the results and back.
  const find = () => document.querySelector(".js-find");
  const results = () => [...document.querySelectorAll("#results td a.ref")];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const active = document.activeElement;
    const isTyping = active && (active.matches("input, textarea, select") || active.isContentEditable);
    if (event.key === "/" && !isTyping && find()) {
      event.preventDefault();
      find().focus();
      find().select();
      return;
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const links = results();
    const at = links.indexOf(active);
    const isFind = active === find() && active.id === "q";
    if (!links.length || (at < 0 && !(isFind && event.key === "ArrowDown"))) return;
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    if (next < 0) find().focus();
    else if (next < links.length) links[next].focus();
  });
})();
