// tenon completion: what a shell is told so that it completes tenon's command line.
import { type Command, command, UsageError } from "../command.ts";
import { type Shell, completion as scriptFor, shells } from "../completion.ts";

/** Made with the other commands, whose tables it prints. */
export function completion(commands: () => Readonly<Record<string, Command>>): Command {
  return command({
    name: "completion",
    summary: "what bash, zsh or fish is told to complete this command line",
    takes: shells.join("|"),
    operands: "shell",
    options: {},
    more: [
      "bash   source <(tenon completion bash)",
      "zsh    tenon completion zsh > /usr/share/zsh/vendor-completions/_tenon",
      "fish   tenon completion fish | source",
    ].join("\n"),
    run(_, [shell, ...more]) {
      if (!shells.includes(shell as Shell) || more.length > 0)
        throw new UsageError(`Cannot complete for "${shell ?? ""}": name one of ${shells.join(", ")}`);
      process.stdout.write(scriptFor(shell as Shell, commands()));
      return 0;
    },
  });
}
