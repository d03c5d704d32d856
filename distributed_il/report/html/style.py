"""How pages look: one style sheet, light and dark, on screens of any width and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2128; --soft: #5b6672; --line: #d9dfe5; --card: #f6f8fa; --accent: #0b5cad;
  --c0: #0072b2; --c1: #d55e00; --c2: #00805c; --c3: #b0508c;
  --c4: #9a6b00; --c5: #3d7ea6; --c6: #5e4fa2; --c7: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --ink: #e6e9ed; --soft: #9aa5b1; --line: #313a44; --card: #1c2229; --accent: #7ab8f5;
    --c0: #56b4e9; --c1: #f08a4b; --c2: #3fc79a; --c3: #e39ac6;
    --c4: #e6b94a; --c5: #8ec7e8; --c6: #b3a7ee; --c7: #a8b0ba;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 64rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.lead, .note, figcaption, caption { color: var(--soft); }
.note, figcaption { font-size: .88rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1.2rem 0 0; font-size: .92rem; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; font-size: .88rem; max-width: calc(100vw - 2.5rem); }
th, td { padding: .38rem 1.1rem .38rem 0; text-align: right; vertical-align: top; }
th, td { border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 1.5px solid var(--line); white-space: nowrap; }
th:first-child, td.text { text-align: left; }
tbody th { font-weight: 500; }
td, tbody th { white-space: nowrap; }
td.text { white-space: normal; }
td small { display: block; color: var(--soft); font-size: .8em; white-space: nowrap; }
tr.marked { background: var(--card); }
.best { font-weight: 700; }
.numbers { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; padding: 0; color: var(--soft); }
.numbers li { list-style: none; background: var(--card); border-radius: 8px; padding: .5rem 1rem; font-size: .9rem; }
.numbers b { display: block; font-size: 1.25rem; color: var(--ink); font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.2rem 2rem; }
figure { margin: .6rem 0; min-width: 0; max-width: 36rem; }
figure h4 { margin: 0 0 .2rem; font-size: .92rem; font-weight: 600; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
@media (max-width: 34rem) { svg text { font-size: 17px; } svg .name, svg .strong { font-size: 13.5px; } }
svg .strong { fill: var(--ink); }
svg .inside { fill: var(--paper); font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .2rem 0 0; padding: 0; font-size: .85rem; }
.legend li { list-style: none; }
.legend svg { display: inline-block; width: 26px; height: 12px; margin-right: .4rem; vertical-align: -1px; }
.legend .patch { width: 12px; }
details { margin: .8rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .92rem; }
footer { margin-top: 3.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
footer { color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; padding: 0; } nav { display: none; } figure { break-inside: avoid; } }
"""
