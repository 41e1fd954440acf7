/** Draws a bar chart as an SVG, for light and dark backgrounds. */

export interface Bar {
  readonly name: string;
  readonly value: number;
}

export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

const width = 760;
const labelWidth = 290;
const valueWidth = 70;
const barHeight = 18;
const step = 24;
const lineHeight = 18;
/** The space above and below a panel's title. */
const gap = 11;
/** The longest line that fits in any of the fonts, in characters. */
const columns = 85;

/** Draws panels of horizontal bars, and a caption. Bars whose name begins with `ours` have a different colour. */
export function chart(panels: readonly Panel[], ours: string, caption: string): string {
  let top = 0;
  const parts = panels.map((panel) => {
    const { height, drawn } = drawPanel(panel, ours, top);
    top += height;
    return drawn;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top + 30}" width="${width}" role="img">
<title>${escapeText(ours)} beside its peers</title>
<style>
svg { color: #1f2328; font-size: 13px; font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
text { fill: currentColor }
.title { font-weight: 600 }
.bar { fill: #8c959f }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #4493f8 } }
</style>
${parts.join("\n")}
<text x="0" y="${top + 20}">${escapeText(caption)}</text>
</svg>
`;
}

function drawPanel({ title, bars }: Panel, ours: string, top: number): { height: number; drawn: string } {
  const lines = wrapped(title);
  const titleHeight = 2 * gap + lines.length * lineHeight;
  const longest = Math.max(...bars.map(({ value }) => value));
  const drawn = bars.map(({ name, value }, index) => {
    const y = top + titleHeight + index * step;
    const length = (value / longest) * (width - labelWidth - valueWidth);
    const end = (labelWidth + length).toFixed(1);
    const kind = name.startsWith(ours) ? "bar ours" : "bar";
    const shown = value >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
    return [
      `<text x="${labelWidth - 8}" y="${y + 13}" text-anchor="end">${escapeText(name)}</text>`,
      `<rect class="${kind}" x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2"/>`,
      `<text x="${end}" dx="6" y="${y + 13}">${shown}</text>`,
    ].join("\n");
  });
  const titles = lines.map((line, index) => {
    const y = top + gap + 13 + index * lineHeight;
    return `<text class="title" x="0" y="${y}">${escapeText(line)}</text>`;
  });
  return { height: titleHeight + bars.length * step, drawn: [...titles, ...drawn].join("\n") };
}

/** Breaks a text between words. */
function wrapped(text: string): string[] {
  return text.match(new RegExp(`\\S.{0,${columns - 1}}(?=\\s|$)`, "g")) ?? [];
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
}
