import { commonCommands, glassCommands, groups, otherCommands } from "./command-table.ts";

const maxDistance = 2;

/** `\nDid you mean this?…` for a mistyped command, or nothing; `path` may hold a group's name first. */
export function suggestCommands(path: string): string {
  const [first = "", second] = path.split(" ");
  const names =
    second === undefined
      ? [commonCommands, glassCommands, otherCommands, groups].flatMap((table) => Object.keys(table))
      : Object.keys(groups[first]?.commands ?? {});
  const typed = second ?? first;
  const near = names
    .filter((name) => name.startsWith(typed) || distance(typed, name) <= Math.min(maxDistance, typed.length / 3))
    .sort();
  if (near.length === 0) return "";
  return `\nDid you mean ${near.length === 1 ? "this" : "one of these"}?\n${near.map((name) => `\t${name}\n`).join("")}`;
}

/** ` (did you mean --X?)` for a mistyped flag, or nothing. */
export function suggestFlag(typed: string, names: readonly string[]): string {
  const near = names
    .map((name) => ({ name, far: distance(typed, name) }))
    .filter(({ far }) => far <= Math.min(maxDistance, typed.length / 3))
    .toSorted((left, right) => left.far - right.far)[0];
  return near === undefined ? "" : ` (did you mean --${near.name}?)`;
}

/** Levenshtein distance. */
function distance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const replace = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
