/** `--batch`: sends several queries in one round trip. */
import { UsageError } from "../../command/errors.ts";
import { defineFeature } from "../../command/feature.ts";
import type { Reader } from "../../command/flags.ts";
import { largest } from "./parent.ts";

const read: Reader<number | "auto"> = (text, name) => {
  if (text === "auto") return text;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= largest) return value;
  throw new UsageError(`${name} must be a whole number from 1 to ${largest}, or "auto", not ${JSON.stringify(text)}`);
};

export const feature = defineFeature({
  flags: {
    batch: {
      value: "N",
      read,
      default: 1,
      group: "work",
      help: 'queries in one round trip; "auto": as many as take 5 ms, up to 64',
    },
  },
  isAsked: ({ batch }) => batch !== 1,
  setUp: async ({ batch }) => ({ options: { batch } }),
});
