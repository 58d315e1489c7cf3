// Light or dark before the first paint. Without a choice of the reader, the system decides (board.css).
(() => {
  try {
    const chosen = localStorage.getItem("esc-receiver-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // No storage for this page: then the choice lasts as long as the page.
  }
})();
