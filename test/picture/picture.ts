/**
 * Draws the README's picture as an SVG: `npm start` on a terminal of 80 columns, at the start, half-way and at the end.
 *
 *     npm run picture
 */
import { writeFileSync } from "node:fs";
import { moments, startOnTerminal } from "../terminal.ts";

const columns = 80;
const fontSize = 14;
const lineHeight = 20;
const cellWidth = 0.6 * fontSize;
const margin = 16;

const { status, stdout } = await startOnTerminal(["start"], columns, { command: ["npm"] }).ended;
if (status !== 0) throw new Error(`npm start ended with exit status ${status}: ${stdout}`);
const screens: string[][] = [];
for await (const { rows } of moments(stdout, columns)) screens.push(rows);
const [begun, halfWay] = [1, 50].map((percent) => screens.find((rows) => percentOf(rows) >= percent)!);
const end = screens.at(-1)!;
const summary = end.slice(end.findIndex((row) => row.startsWith("100 %")));
const rows = ["$ npm start", ...begun!, "⋮", halfWay!.at(-1)!, "⋮", ...summary];
writeFileSync(new URL("./run.svg", import.meta.url), svg(rows));

function percentOf(rows: readonly string[]): number {
  return Number(/^ *(\d+) % /.exec(rows.at(-1) ?? "")?.[1] ?? 0);
}

/** Returns an SVG with the rows as text, for light and dark backgrounds. */
function svg(rows: readonly string[]): string {
  const width = Math.ceil(columns * cellWidth + 2 * margin);
  const height = rows.length * lineHeight + 2 * margin;
  const lines = rows.flatMap((row, index) => {
    if (row === "") return [];
    const kind = row === "⋮" ? ' class="gap"' : "";
    // The length keeps the columns where they are in any font.
    const length = kind ? "" : ` textLength="${(row.length * cellWidth).toFixed(1)}" lengthAdjust="spacingAndGlyphs"`;
    const y = margin + index * lineHeight + fontSize;
    return `<text x="${margin}" y="${y}"${kind}${length}>${escapeText(row)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" xml:space="preserve">
<title>npm start in a terminal</title>
<style>
svg { color: #1f2328 }
rect { fill: #f6f8fa; stroke: #d1d9e0 }
text { fill: currentColor; font-size: ${fontSize}px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.gap { opacity: 0.5 }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3 } rect { fill: #151b23; stroke: #3d444d } }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="6"/>
${lines.join("\n")}
</svg>
`;
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
