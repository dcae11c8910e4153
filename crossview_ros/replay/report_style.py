# SPDX-License-Identifier: Apache-2.0
"""The style sheet of report.html: dark on light, no external fonts, fit for screen and paper."""

CSS = """
:root { --ink: #1c2733; --muted: #5d6b7a; --line: #dfe5ea; --page: #f4f6f8; --card: #ffffff;
        --accent: #0f6f8f; --soft: #e8f3f6; --loss: #c2311c; --warn: #8a5a00; --warnbg: #fff7e6; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans",
       sans-serif; -webkit-font-smoothing: antialiased; }
main { max-width: 1320px; margin: 0 auto; padding: 36px 28px 60px; }
h1 { font-size: 29px; line-height: 1.2; margin: 0 0 10px; letter-spacing: -0.02em; }
h2 { font-size: 19px; margin: 44px 0 6px; letter-spacing: -0.01em; }
h3 { font-size: 14px; margin: 0 0 8px; }
p { margin: 0 0 12px; }
p.lead { font-size: 17px; max-width: 62em; margin: 0; }
p.hint { color: var(--muted); font-size: 14px; max-width: 72em; }
.badge { display: inline-block; background: var(--soft); color: var(--accent); font-weight: 600;
         font-size: 12.5px; border-radius: 999px; padding: 3px 12px; margin-bottom: 12px; }
.cards { display: grid; grid-template-columns: repeat(var(--columns), 1fr); gap: 14px;
         margin-top: 26px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
        padding: 15px 17px 13px; }
.card .name { color: var(--muted); font-size: 13px; font-weight: 600; }
.card .value { font-size: 31px; font-weight: 650; letter-spacing: -0.02em; line-height: 1.25;
               font-variant-numeric: tabular-nums; }
.card .unit { font-size: 16px; font-weight: 500; color: var(--muted); margin-left: 5px; }
.card .more { color: var(--muted); font-size: 12.5px; line-height: 1.4; margin-top: 2px; }
.box { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
       padding: 18px 20px; }
.notes { background: var(--warnbg); border: 1px solid #f2dfb3; border-radius: 12px;
         padding: 13px 20px 13px 18px; margin-top: 18px; }
.notes ul { margin: 0; padding-left: 18px; } .notes li { margin: 3px 0; }
.panels { display: grid; gap: 6px; }
.panels figure { margin: 0; } .panels img { width: 100%; display: block; border-radius: 5px; }
.panels .head { font-size: 13.5px; font-weight: 600; align-self: end; padding-bottom: 3px; }
.panels .caption { grid-column: 1 / -1; color: var(--muted); font-size: 13px;
                   margin: 0 0 12px; font-variant-numeric: tabular-nums; }
.bar { height: 9px; border-radius: 3px; margin-top: 5px; }
.ticks { position: relative; height: 16px; font-size: 11px; color: var(--muted);
         font-weight: 400; margin: 0 8px; font-variant-numeric: tabular-nums; }
.ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; color: var(--muted);
          margin-top: 2px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
            margin-right: 6px; vertical-align: -1px; border: 1px solid rgba(0,0,0,.12); }
.wheel { display: flex; gap: 14px; align-items: center; margin-bottom: 14px; font-size: 13px;
         color: var(--muted); max-width: 72em; }
.wheel img { width: 48px; height: 48px; flex: none; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 14px; }
.plots img { width: 100%; display: block; } .plots .wide { grid-column: 1 / -1; }
.wide td:nth-child(-n+3) { white-space: nowrap; }
.wide th:nth-child(1) { width: 250px; } .wide th:nth-child(2) { width: 70px; }
.wide th:nth-child(3) { width: 90px; }
.twocol { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 14px;
          align-items: start; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--muted); font-weight: 600; font-size: 12.5px;
     border-bottom: 1px solid var(--line); padding: 4px 12px 6px 0; }
td { padding: 6px 12px 6px 0; border-bottom: 1px solid #eef1f4; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
                       white-space: nowrap; }
td.meaning { color: var(--muted); font-size: 13px; }
td.fact { color: var(--muted); width: 42%; padding-right: 20px; }
td.text { overflow-wrap: anywhere; }
tr.loss td { color: var(--loss); font-weight: 600; }
code, pre { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: #1c2733; color: #eef3f7; border-radius: 10px; padding: 12px 16px; margin: 0;
      font-size: 13.5px; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 13px; margin-top: 40px; }
@media (max-width: 900px) { .cards { grid-template-columns: repeat(2, 1fr); } }
@media (max-width: 620px) { main { padding: 20px 14px; } .plots, .twocol
  { grid-template-columns: 1fr; } }
@media print { body { background: #fff; } .box, .card, .panels figure { break-inside: avoid; } }
"""
