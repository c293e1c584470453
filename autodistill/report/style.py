"""The HTML report's style sheet and the script that sorts its table."""

STYLE = """
:root {
  --bg: #f5f7fa; --panel: #ffffff; --text: #17202b; --soft: #5b6878; --line: #dfe5ec;
  --accent: #2f7de1; --good: #1c7d4d; --good-bg: #e3f4ea; --front-bg: #e7f0fd; --base: #a86405;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #10151c; --panel: #182029; --text: #e6ebf1; --soft: #9aa7b6; --line: #2b3642;
    --accent: #6aa6f2; --good: #6fd3a0; --good-bg: #17382a; --front-bg: #1a2f4a; --base: #f0ad4e;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 20px 40px; background: var(--bg);
  color: var(--text); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 28px; line-height: 1.2; margin: 2px 0 6px; letter-spacing: -0.01em;
  overflow-wrap: anywhere; }
h1 .for { color: var(--soft); font-weight: 400; }
h2 { font-size: 17px; margin: 0 0 4px; }
h3 { font-size: 14px; margin: 14px 0 4px; }
.eyebrow { margin: 0; color: var(--accent); font-size: 12px; font-weight: 600;
  letter-spacing: 0.08em; text-transform: uppercase; }
.lead, .note, .empty { color: var(--soft); }
.lead { margin: 0 0 20px; }
.note { margin: 0 0 10px; font-size: 13px; }
.empty { padding: 24px; text-align: center; border: 1px dashed var(--line); border-radius: 8px; }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); }
.card, .panel { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 18px; }
.card b { display: block; font-size: 26px; line-height: 1.25; letter-spacing: -0.01em; }
.card span { color: var(--soft); font-size: 13px; }
.card.good b { color: var(--good); }
.panel { margin-top: 16px; padding: 18px 20px; min-width: 0; }
.panel ul { margin: 8px 0 0; padding-left: 20px; }
.panel li { margin: 4px 0; }
.columns { display: grid; gap: 0 16px; grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 12.5px; vertical-align: bottom;
  white-space: normal; }
th:first-child, td:first-child, .sortable th:nth-child(2), .sortable td:nth-child(2)
  { text-align: left; }
.sortable td:nth-child(2) { white-space: normal; min-width: 230px; }
th button { all: unset; cursor: pointer; }
th button:hover, th button:focus-visible { color: var(--accent); text-decoration: underline; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
tr.front td:first-child { box-shadow: inset 3px 0 var(--accent); font-weight: 600; }
tr.baseline td:first-child { box-shadow: inset 3px 0 var(--base); color: var(--base);
  font-weight: 600; }
tr.dim td { color: var(--soft); }
tfoot td { color: var(--soft); font-style: italic; }
code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.badges { display: block; margin-top: 2px; }
.badge { display: inline-block; margin-right: 5px; padding: 0 7px; border-radius: 9px;
  font-size: 11.5px; font-weight: 600; white-space: nowrap; }
.badge.front { color: var(--accent); background: var(--front-bg); }
.badge.good { color: var(--good); background: var(--good-bg); }
td > .badge { margin-left: 6px; }
.why { display: block; font-size: 12.5px; overflow-wrap: anywhere; }
dl { display: grid; gap: 12px 24px; margin: 10px 0 0;
  grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); }
dt { color: var(--soft); font-size: 12.5px; }
dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 20px; color: var(--soft); font-size: 12.5px; text-align: center; }
.js-plotly-plot .main-svg text:not(.hovertext text) { fill: var(--text) !important; }
.js-plotly-plot .hoverlayer text, .js-plotly-plot .hoverlayer tspan { fill: #fff !important; }
.js-plotly-plot .gridlayer path { stroke: var(--line) !important; }
.js-plotly-plot .ticks { stroke: var(--line) !important; }
@media (max-width: 820px) { .columns { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 560px) {
  body { padding: 18px 12px 28px; }
  h1 { font-size: 22px; }
  .panel { padding: 14px 12px; }
  .cards { grid-template-columns: 1fr 1fr; gap: 8px; }
  .card { padding: 10px 12px; }
  .card b { font-size: 21px; }
}
"""

# Numbers sort by data-key, other columns by their text; rows without a key stay last.
SORT_SCRIPT = """
document.querySelectorAll("table.sortable").forEach(function (table) {
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach(function (heading, column) {
    heading.querySelector("button").addEventListener("click", function () {
      const rising = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach(function (other) { other.removeAttribute("aria-sort"); });
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const numeric = body.querySelector("td:nth-child(" + (column + 1) + ")[data-key]");
      const key = function (row) {
        const cell = row.cells[column];
        if (!numeric) { return cell.textContent; }
        return "key" in cell.dataset ? Number(cell.dataset.key) : null;
      };
      Array.from(body.rows).sort(function (one, two) {
        const a = key(one), b = key(two);
        if (a === null || b === null) { return (a === null) - (b === null); }
        const order = numeric ? a - b : a.localeCompare(b);
        return rising ? order : -order;
      }).forEach(function (row) { body.appendChild(row); });
    });
  });
});
"""
