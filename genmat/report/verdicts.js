// The page of a stress test: every plot from its numbers, drawn when it comes near, in the colours of the theme.

/** One trace with the colour its role has in this theme. */
function verdictTrace(trace) {
  const color = token(`--${trace.role}`);
  const named = { ...trace, hoverinfo: trace.text ? "text+x+y" : undefined };
  if (trace.type === "bar") {
    const pattern = trace.role === "accent" ? undefined : { ...HATCH, fgcolor: token("--card") };
    return { ...named, marker: { color, pattern } };
  }
  if (trace.mode === "lines") return { ...named, line: { color, width: 1.2 }, opacity: trace.role === "warm" ? 1 : 0.45 };
  return { ...named, marker: { color, size: 6, opacity: 0.6, symbol: trace.role === "warm" ? "x" : "circle" } };
}

function drawVerdict(spec) {
  const traces = spec.traces.filter((trace) => trace.x.length).map(verdictTrace);
  const line = spec.diagonal && { type: "line", x0: spec.diagonal[0], y0: spec.diagonal[0], x1: spec.diagonal[1],
    y1: spec.diagonal[1], line: { color: token("--ink"), width: 1.2, dash: "dot" } };
  plot(`plot-${spec.id}`, traces, {
    xaxis: spec.xaxis, yaxis: spec.yaxis, shapes: line ? [line] : [], showlegend: traces.length > 1,
    barmode: spec.id === "gamma" ? "stack" : "group",
  }, spec.description);
  numbersTable(`numbers-${spec.id}`, spec.title, spec.head, spec.lines);
}

$("theme").onclick = () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("genmat-theme", theme); } catch { /* private windows refuse storage */ }
  setTheme(theme);
};
data.plots.forEach((spec) => whenNear($(`plot-${spec.id}`), () => {
  drawVerdict(spec);
  themeListeners.push(() => drawVerdict(spec));
}));
let stored = null;
try { stored = localStorage.getItem("genmat-theme"); } catch { /* private windows refuse storage */ }
setTheme(stored || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
