// Shell completion, made from the commands' own tables of options: what bash, zsh and fish are told to offer.
import type { Command, Option, Word } from "./command.ts";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

type Commands = Readonly<Record<string, Command>>;

/** Shell words that list what a word may be; files are the shells' own affair. */
const sources: Partial<Record<Word, string>> = {
  network: "ls /var/lib/cni/networks 2>/dev/null",
  pod: "ls -d /run/netns/* /var/run/netns/* 2>/dev/null",
  shell: `printf '%s\\n' ${shells.join(" ")}`,
};

/** The script for one shell. */
export function completion(shell: Shell, commands: Commands): string {
  return { bash, zsh, fish }[shell](commands);
}

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
const flags = (options: Readonly<Record<string, Option>> = {}) =>
  Object.entries(options).flatMap(([name, { short }]) => [`--${name}`, ...(short ? [`-${short}`] : [])]);

/** The bash words that fill COMPREPLY with what a word may be. */
function bashWord(word: Word | undefined): string {
  if (word === "file") return 'COMPREPLY=($(compgen -f -- "$word"))';
  if (word === "directory") return 'COMPREPLY=($(compgen -d -- "$word"))';
  const source = word && sources[word];
  return source ? `COMPREPLY=($(compgen -W "$(${source})" -- "$word"))` : "COMPREPLY=()";
}

function bash(commands: Commands): string {
  const cases = Object.entries(commands).flatMap(([name, { options = {}, operands }]) => {
    const values = Object.entries(options).filter(([, { value }]) => value);
    return [
      `    ${name})`,
      ...(values.length > 0
        ? [
            '      case "$before" in',
            ...values.map(
              ([option, { short, word }]) =>
                `        --${option}${short ? `|-${short}` : ""}) ${bashWord(word)}; return ;;`,
            ),
            "      esac",
          ]
        : []),
      `      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "${[...flags(options), "--help"].join(" ")}" -- "$word"))`,
      `      else ${bashWord(operands)}; fi ;;`,
    ];
  });
  return [
    "# tenon for bash: source <(tenon completion bash)",
    "_tenon() {",
    "  local word=$2 before=$3",
    "  COMPREPLY=()",
    "  if ((COMP_CWORD == 1)); then",
    `    COMPREPLY=($(compgen -W "${Object.keys(commands).join(" ")} --help" -- "$word"))`,
    "    return",
    "  fi",
    `  case "\${COMP_WORDS[1]}" in`,
    ...cases,
    "  esac",
    "}",
    "complete -F _tenon tenon",
    "",
  ].join("\n");
}

function zshWord(word: Word | undefined): string {
  if (word === "file") return "_files";
  if (word === "directory") return "_files -/";
  const source = word && sources[word];
  return source ? `{ compadd -- $(${source}) }` : " ";
}

/** A text within a specification of _arguments: brackets and colons have a meaning there. */
const zshText = (text: string) => text.replace(/[[\]:\\]/g, "\\$&");

function zsh(commands: Commands): string {
  const cases = Object.entries(commands).map(([name, { options = {}, operands }]) => {
    const specs = Object.entries(options).flatMap(([option, { value, short, several, about, word }]) =>
      [`--${option}`, ...(short ? [`-${short}`] : [])].map((flag) =>
        quoted(`${several ? "*" : ""}${flag}[${zshText(about)}]${value ? `:${zshText(value)}:${zshWord(word)}` : ""}`),
      ),
    );
    const rest = operands ? [quoted(`*:${operands}:${zshWord(operands)}`)] : [];
    return `    ${name}) _arguments ${["'--help[what it does]'", ...specs, ...rest].join(" ")} ;;`;
  });
  return [
    "#compdef tenon",
    "# tenon for zsh: tenon completion zsh > a file _tenon in a folder of $fpath",
    "_tenon() {",
    "  if ((CURRENT == 2)); then",
    "    local -a commands=(",
    ...Object.entries(commands).map(([name, { summary }]) => `      ${quoted(`${name}:${summary}`)}`),
    "    )",
    "    _describe command commands",
    "    return",
    "  fi",
    "  local name=$words[2]",
    "  shift words",
    "  ((CURRENT--))",
    "  case $name in",
    ...cases,
    "  esac",
    "}",
    'if [[ "$funcstack[1]" == _tenon ]]; then _tenon "$@"; else compdef _tenon tenon; fi',
    "",
  ].join("\n");
}

function fish(commands: Commands): string {
  const lines = ["# tenon for fish: tenon completion fish | source", "complete -c tenon -f"];
  const within = (name: string) => quoted(`__fish_seen_subcommand_from ${name}`);
  for (const [name, { summary }] of Object.entries(commands))
    lines.push(`complete -c tenon -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`);
  for (const [name, { options = {}, operands }] of Object.entries(commands)) {
    for (const [option, { value, short, about, word }] of Object.entries(options)) {
      const kind = !value ? "" : word === "file" || word === "directory" ? " -r -F" : ` -x${fishWord(word)}`;
      lines.push(
        `complete -c tenon -n ${within(name)} -l ${option}${short ? ` -s ${short}` : ""}${kind} -d ${quoted(about)}`,
      );
    }
    if (operands === "file" || operands === "directory") lines.push(`complete -c tenon -n ${within(name)} -F`);
    else if (operands && sources[operands]) lines.push(`complete -c tenon -n ${within(name)}${fishWord(operands)}`);
  }
  return `${lines.join("\n")}\n`;
}

function fishWord(word: Word | undefined): string {
  const source = word && sources[word];
  return source ? ` -a ${quoted(`(${source})`)}` : "";
}
