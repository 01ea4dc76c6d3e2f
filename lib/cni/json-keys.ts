// The keys of a JSON text as they stand there. JSON.parse keeps the last of two that are the same and says nothing.

/**
 * The keys of every object that `path` leads to, in the order of the text, repeated ones repeated. Keys of the path match
 * without regard to case. The text must be what JSON.parse takes.
 */
export function keysAt(text: string, path: readonly string[]): string[] {
  const found: string[] = [];
  /** For each open bracket, how much of the path has led there; -1 off the path, undefined for a list. */
  const open: (number | undefined)[] = [];
  let reached: number | undefined = 0; // by the value that comes next
  let isKey = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case "{":
        open.push(reached ?? -1);
        isKey = true;
        break;
      case "[":
        open.push(undefined);
        reached = -1;
        isKey = false;
        break;
      case "}":
      case "]":
        open.pop();
        isKey = false;
        break;
      case ",":
        isKey = open.at(-1) !== undefined;
        break;
      case '"': {
        const start = at++;
        while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
        if (!isKey) break;
        const key: string = JSON.parse(text.slice(start, at + 1));
        const level = open.at(-1)!;
        if (level === path.length) found.push(key);
        reached = level >= 0 && path[level]?.toLowerCase() === key.toLowerCase() ? level + 1 : -1;
        isKey = false;
        break;
      }
    }
  }
  return found;
}

/** The first key that stands for the same as an earlier one. */
export function firstRepeated(keys: readonly string[], meaning: (key: string) => string): string | undefined {
  const meanings = keys.map(meaning);
  return keys.find((_, at) => meanings.indexOf(meanings[at]!) < at);
}
