// --chmod of COPY and ADD: octal, or symbolic as chmod(1) of FreeBSD has it.

/** What --chmod makes of a file's permission bits. Pure. */
export interface ModeChange {
  /** As written: a part of the content key. */
  readonly text: string;
  apply(mode: number, options: { isDirectory: boolean }): number;
}

interface Clause {
  /** Which of user, group and others: bits of 0o7 each, at their places. */
  readonly who: number;
  readonly operator: string;
  readonly permissions: string;
}

const everyone = 0o777;
const places: Readonly<Record<string, number>> = { u: 0o700, g: 0o070, o: 0o007, a: everyone };

/** Throws an Error with Docker's words for what is neither. */
export function parseModeChange(text: string): ModeChange {
  if (/^[0-9]+$/.test(text)) {
    const mode = Number.parseInt(text, 8);
    if (!/^[0-7]+$/.test(text) || mode > 0o7777) {
      throw new Error(`invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`);
    }
    return { text, apply: () => mode };
  }
  const clauses = text.split(",").flatMap((clause) => parseClauses(clause, text));
  return {
    text,
    apply: (mode, { isDirectory }) => clauses.reduce((bits, clause) => applyClause(bits, clause, isDirectory), mode),
  };
}

/** `u=rwX`, or several changes of the same: `go+r-w`. */
function parseClauses(clause: string, text: string): Clause[] {
  const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause);
  if (!match) throw new Error(`invalid chmod parameter: '${text}'. "${clause}" is neither octal nor like u=rwX,go=rX`);
  const [, letters = "", changes = ""] = match;
  const who = Array.from(letters || "a", (letter) => places[letter] ?? 0).reduce((all, bits) => all | bits, 0);
  return Array.from(changes.matchAll(/([-+=])([^-+=]*)/g), ([, operator = "", permissions = ""]) => {
    return { who, operator, permissions };
  });
}

function applyClause(mode: number, { who, operator, permissions }: Clause, isDirectory: boolean): number {
  const bits = bitsOf(permissions, mode, { who, isDirectory });
  if (operator === "+") return mode | bits;
  if (operator === "-") return mode & ~bits;
  const special = (who & 0o700 ? 0o4000 : 0) | (who & 0o070 ? 0o2000 : 0) | (who === everyone ? 0o1000 : 0);
  return (mode & ~(who | special)) | bits;
}

function bitsOf(
  permissions: string,
  mode: number,
  { who, isDirectory }: { who: number; isDirectory: boolean },
): number {
  let three = 0;
  let special = 0;
  for (const letter of permissions) {
    if (letter === "u") three |= (mode >> 6) & 7;
    if (letter === "g") three |= (mode >> 3) & 7;
    if (letter === "o") three |= mode & 7;
    if (letter === "r") three |= 4;
    if (letter === "w") three |= 2;
    if (letter === "x" || (letter === "X" && (isDirectory || (mode & 0o111) !== 0))) three |= 1;
    if (letter === "s") special |= (who & 0o700 ? 0o4000 : 0) | (who & 0o070 ? 0o2000 : 0);
    if (letter === "t") special |= 0o1000;
  }
  return (who & ((three << 6) | (three << 3) | three)) | special;
}
