// Start the page: theme, cards, viewer, table; charts when they come near.

$("theme").onclick = () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("genmat-theme", theme); } catch { /* private windows refuse storage */ }
  setTheme(theme);
};
initViewer();
initCards();
initTable();
initPage();
initEvidence();
whenNear($("plot-hull"), initHulls);
whenNear($("plot-histogram"), () => { drawHistogram(); themeListeners.push(drawHistogram); });
if (anyDisorder) whenNear($("plot-disorder"), () => { drawDisorder(); themeListeners.push(drawDisorder); });
else $("disorder-body").hidden = true;
whenNear($("plot-spacegroups"), () => { drawSpacegroups(); themeListeners.push(drawSpacegroups); });
document.querySelectorAll("[data-element]").forEach((node) =>
  node.addEventListener("click", () => filterElement(node.dataset.element)));
$("copy")?.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("command").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("command"));
    $("copied").textContent = "Selected: press Ctrl+C.";
  }
});
let stored = null;
try { stored = localStorage.getItem("genmat-theme"); } catch { /* private windows refuse storage */ }
setTheme(stored || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
