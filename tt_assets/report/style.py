"""The page's style sheet. Fonts are the reader's own; colours follow the reader's theme."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --card: #f6f8fa; --text: #1f2328; --quiet: #59636e; --line: #d1d9e0;
  --accent: #1a75ec; --agent: #ddebff; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0d1117; --card: #151b23; --text: #e6edf3; --quiet: #9198a1; --line: #3d444d; --agent: #14294a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 21px; margin: 40px 0 12px; }
h3 { font-size: 17px; margin: 28px 0 10px; }
section { margin-top: 56px; padding-top: 8px; border-top: 1px solid var(--line); }
a { color: var(--accent); }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 0; }
.span { color: var(--quiet); margin: 0 0 16px; }
.verdict { margin: 0 0 24px; padding: 14px 18px; background: var(--card); border-left: 4px solid var(--accent);
  border-radius: 4px; }
figure { margin: 0 0 20px; padding: 12px; border: 1px solid var(--line); border-radius: 6px; break-inside: avoid; }
img { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; white-space: nowrap; font-weight: normal; }
thead th { vertical-align: top; white-space: normal; font-weight: 600; line-height: 1.3; min-width: 84px; }
thead small { display: block; color: var(--quiet); font-weight: normal; }
thead th:first-child, tbody th { text-align: left; }
tbody tr { border-top: 1px solid var(--line); }
tbody th.scenario { background: var(--card); font-weight: 600; }
tr.agent { background: var(--agent); }
tr.agent th, tr.agent td { font-weight: 600; }
li { margin: 4px 0; }
"""
