// The front of accuracy against parameters, and a table as CSV.
import { byId, download } from "./api.js";
import { draw, PALETTE } from "./charts.js";

const chart = byId("front");
if (chart) {
  const rows = [...document.querySelectorAll("#leaderboard tbody tr")].filter((row) => row.dataset.parameters);
  const origins = [...new Set(rows.map((row) => row.dataset.origin))];
  const point = (row) => ({ x: Number(row.dataset.parameters) / 1e6, y: Number(row.dataset.accuracy), name: row.cells[0].textContent });
  const traces = origins.map((origin, i) => {
    const points = rows.filter((row) => row.dataset.origin === origin).map(point);
    return { type: "scatter", mode: "markers", name: origin, x: points.map((p) => p.x), y: points.map((p) => p.y), text: points.map((p) => p.name), marker: { color: PALETTE[i], size: 9 }, hovertemplate: "%{text}<br>%{y:.2f} %<br>%{x:.3f} M<extra></extra>" };
  });
  const front = rows.filter((row) => row.dataset.front === "1").map(point).sort((a, b) => a.x - b.x);
  traces.push({ type: "scatter", mode: "lines", name: "front", x: front.map((p) => p.x), y: front.map((p) => p.y), line: { color: "#8a8a8a", shape: "hv" }, hoverinfo: "skip" });
  draw(chart, traces, { title: { text: `${chart.dataset.name}: n = ${rows.length}`, font: { size: 13 } }, xaxis: { title: { text: "Parameters (M)" }, type: "log" }, yaxis: { title: { text: "Test accuracy (%)" } } }, `${chart.dataset.name}-front`);
}

byId("as-csv")?.addEventListener("click", (event) => {
  // a cell that a spreadsheet would run as a formula is marked as text
  const quoted = (text) => `"${(/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const lines = [...byId("leaderboard").rows].map((row) => [...row.cells].map((cell) => quoted(cell.textContent.trim().replace(/^(\d{1,3}(,\d{3})+)$/, (n) => n.replaceAll(",", "")))).join(","));
  download(new Blob([lines.join("\r\n")], { type: "text/csv" }), event.target.dataset.name);
});
