import assert from "node:assert/strict";
import { test } from "node:test";
import { chart } from "./bench/chart.ts";

test("chart() wraps a long title and draws the bars below it", () => {
  const title = `${"UPDATEs of ranges on a durable server, ".repeat(3)}mysql2 callbacks = 1`;
  const svg = chart([{ title, bars: [{ name: "ours", value: 1 }] }], "ours", "caption");
  const lines = [...svg.matchAll(/class="title" x="0" y="(\d+)">([^<]*)</g)];
  assert.equal(lines.length, 2);
  assert.equal(lines.map(([, , text]) => text).join(" "), title);
  for (const [, , text] of lines) assert.ok(text!.length <= 85, text);
  const [, bar] = /<rect class="bar ours" [^>]*y="(\d+)"/.exec(svg)!;
  assert.ok(Number(lines[1]![1]) < Number(bar));
});
