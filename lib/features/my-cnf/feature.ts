/** `--defaults-file`, and `~/.my.cnf`: settings of the server from the clients' option files. */
import { defineFeature } from "../../command/feature.ts";
import { notEmpty } from "../../command/flags.ts";

export const feature = defineFeature({
  flags: {
    "defaults-file": {
      value: "F",
      read: notEmpty,
      group: "server",
      namesServer: true,
      mayHold: "an option file",
      help: "what is missing comes from [client] in F (in ~/.my.cnf)",
    },
  },
  settingsFile: async ({ defaultsFile }) => (await import("./settings.ts")).settingsFile(defaultsFile),
});
