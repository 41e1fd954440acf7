import assert from "node:assert/strict";
import { test } from "node:test";
import { explain } from "../lib/command/errors.ts";
import { doWork } from "../lib/mp.ts";
import { withCauses } from "../lib/shared/causes.ts";
import { findFreePort } from "./server.ts";

const script = new URL("./scripts/posts.ts", import.meta.url);
const nested = (depth: number): Error =>
  depth === 0 ? new Error("end") : new Error(`${depth}`, { cause: nested(depth - 1) });

test("withCauses() adds the reason of a failed fetch", async () => {
  const port = await findFreePort();
  const error = await fetch(`http://127.0.0.1:${port}`).catch((error: Error) => error);
  assert.equal(withCauses(error as Error), `fetch failed: connect ECONNREFUSED 127.0.0.1:${port}`);
});

test("withCauses() limits its length, repeats no message, and accepts any value as a cause", () => {
  assert.equal(withCauses(nested(9)), "9: 8: 7: 6: 5");
  assert.equal(withCauses(new Error("no", { cause: "x".repeat(9999) })).length, 502);
  const own = new Error("no");
  own.cause = own;
  assert.equal(withCauses(own), "no");
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assert.match(withCauses(new Error("no", { cause: proxy })), /^no/);
  const cause = new Error("ENOENT: no such file or directory, open 'a'");
  assert.equal(
    withCauses(new Error("Cannot read a: no such file or directory", { cause })),
    own.message.replace("no", "Cannot read a: no such file or directory"),
  );
  assert.equal(withCauses(new AggregateError([new Error("a"), new Error("a"), 7])), "a; 7");
});

test("the cause of an error that main() or a source throws is printed, too", async () => {
  const thrown = new Error("no queries", { cause: new Error("no network") });
  assert.match(explain(thrown), /^no queries: no network \(test\/causes\.test\.ts:\d+:\d+\)$/);
  async function* source(): AsyncGenerator<string> {
    yield* [];
    throw thrown;
  }
  await assert.rejects(doWork(source(), 1, { script }), { message: "no queries: no network" });
});
