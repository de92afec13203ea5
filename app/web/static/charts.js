// Plotly in the colours of the page, fetched when the first chart is drawn.

export const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a8a000", "#8a8a8a"];

let loading;
function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { loading = undefined; reject(new Error("the charts' script did not come")); };
    document.head.append(script);
  });
  return loading;
}

export function colours() {
  const style = getComputedStyle(document.documentElement);
  return { text: style.getPropertyValue("--text").trim(), line: style.getPropertyValue("--line").trim(), back: style.getPropertyValue("--back").trim(), muted: style.getPropertyValue("--muted").trim() };
}

export function layoutOf(more) {
  const { text, line } = colours();
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, size: 13 },
    margin: { l: 56, r: 16, t: 24, b: 48 }, legend: { orientation: "h", y: 1.12 }, ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
    ...(more.yaxis2 ? { yaxis2: { ...axis, ...more.yaxis2 } } : {}),
  };
}

export async function draw(element, traces, layout, name = "chart") {
  const Plotly = await plotly();
  const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"], toImageButtonOptions: { format: "svg", filename: name } };
  await Plotly.react(element, traces, layoutOf(layout), config);
  if (!element.dataset.themed) {
    element.dataset.themed = "yes";
    addEventListener("theme", () => draw(element, element.data, element.latest, name));
  }
  element.latest = layout;
  return Plotly;
}
