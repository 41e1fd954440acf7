import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { createProgress } from "../lib/progress.ts";

const inFlight = () => [];

test("createProgress() on a terminal redraws one line, within the terminal's width", () => {
  for (const columns of [100, 80, 20]) {
    const { stream, screen } = terminal(columns);
    const progress = createProgress(stream);
    progress.update({ ended: 0, failed: 0, total: 2000, inFlight });
    progress.update({ ended: 1999, failed: 2, total: 2000, inFlight });
    progress.stop();
    const lines = screen();
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^ ?99 %/, "not 100 % before the end");
    assert.ok(lines[0]!.length < columns, `${lines[0]!.length} of ${columns} columns`);
    if (columns >= 80) assert.match(lines[0]!, /█+░* {2}1,999\/2,000 {2}[\d,]+\/s {2}0:0\d left {2}2 failed$/);
  }
});

test("createProgress() shows count and rate while the total is unknown, then the bar", () => {
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.update({ ended: 12_345, failed: 0, total: undefined, inFlight });
  assert.match(screen()[0]!, /^(0|12,345) {2}[\d,]+\/s/);
  progress.update({ ended: 20_000, failed: 0, total: 20_000, inFlight });
  progress.stop();
  assert.match(screen()[0]!, /^100 % █+ {2}20,000\/20,000/);
});

test("createProgress().log() prints above the bar, and after its end below it", () => {
  const { stream, screen } = terminal(80);
  const progress = createProgress(stream);
  progress.log("before");
  progress.update({ ended: 1, failed: 0, total: 2, inFlight });
  progress.log("meanwhile");
  progress.update({ ended: 2, failed: 0, total: 2, inFlight });
  progress.stop();
  progress.log("after");
  const lines = screen();
  assert.deepEqual([lines[0], lines[1], lines[3], lines.length], ["before", "meanwhile", "after", 4]);
  assert.match(lines[2]!, /^100 %/);
});

test("createProgress() without a terminal prints no control characters, and nothing for a short run", () => {
  const { stream, written } = terminal(80);
  stream.isTTY = false;
  const progress = createProgress(stream);
  progress.update({ ended: 1, failed: 0, total: 2, inFlight });
  progress.log("a line");
  progress.stop();
  assert.equal(written(), "a line\n");
});

/** Control sequences, and single characters. */
const pieces = /\x1b\[\??\d*[A-Za-z]|\x1b[78]|[\s\S]/gu;

/** A terminal with as much of its behaviour as a bar needs, and what stands on its screen. */
function terminal(columns: number) {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns }) as unknown as NodeJS.WriteStream;
  let all = "";
  stream.on("data", (chunk) => {
    all += chunk;
  });
  const written = () => {
    stream.read();
    return all;
  };
  const screen = () => {
    const lines = [""];
    let row = 0;
    let column = 0;
    let saved: [number, number] = [0, 0];
    for (const [piece] of written().matchAll(pieces)) {
      if (piece === "\r" || piece === "\x1b[1G") column = 0;
      else if (piece === "\n") {
        row++;
        column = 0;
        lines[row] ??= "";
      } else if (piece === "\x1b7") saved = [row, column];
      else if (piece === "\x1b8") [row, column] = saved;
      else if (piece === "\x1b[K" || piece === "\x1b[0K") lines[row] = lines[row]!.slice(0, column);
      else {
        assert.ok(!piece.startsWith("\x1b"), `unexpected sequence ${JSON.stringify(piece)}`);
        lines[row] = lines[row]!.padEnd(column).slice(0, column) + piece + lines[row]!.slice(column + 1);
        column++;
      }
    }
    return lines.filter((line, index) => line !== "" || index < lines.length - 1);
  };
  return { stream, screen, written };
}
