/** `npm run copy`: makes a copy of the script, or adds features to a copy. On a terminal, it asks which features. */
import { type Choice, copy } from "./command.ts";

const isOnTerminal = process.stdin.isTTY && process.stdout.isTTY;
const folder = process.env.INIT_CWD ?? process.cwd(); // npm changes to the project's root, INIT_CWD is where the person is
const { status, text } = await copy(process.argv.slice(2), folder, isOnTerminal ? ask : undefined);
if (status === 0) console.log(text);
else console.error(text);
process.exitCode = status;

/** Asks a person to choose. Returns undefined after Ctrl-C. */
async function ask(message: string, choices: readonly Choice[]): Promise<readonly string[] | undefined> {
  const { isCancel, multiselect } = await import("@clack/prompts");
  // The prompt repeats the labels of the answer in one paragraph. The names are enough there.
  let isAnswered = false;
  process.stdin.on("keypress", (_, { name, ctrl }) => {
    isAnswered = name === "return" || name === "escape" || (ctrl && name === "c");
  });
  const options = choices.map(({ value, label }) => ({
    value,
    get label() {
      return isAnswered ? value : label;
    },
  }));
  const answer = await multiselect({ message, options, required: false });
  return isCancel(answer) ? undefined : answer;
}
