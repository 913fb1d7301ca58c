// Before the page is painted: the theme that was chosen here, if any. Nothing else is kept in the browser.
"use strict";
(() => {
  let kept = null;
  try { kept = localStorage.getItem("tt-theme"); } catch { /* storage is closed: follow the system */ }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const shown = () => document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = shown() === "dark" ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try { localStorage.setItem("tt-theme", next); } catch { /* as above */ }
      document.dispatchEvent(new Event("theme"));
    });
    for (const form of document.querySelectorAll("form[data-now]")) {
      form.addEventListener("change", () => form.requestSubmit());
    }
  });
})();
