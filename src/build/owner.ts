import { readFile } from "node:fs/promises";
import { EngineError } from "../common/index.ts";
import { closeFd, openFlags, tryOpenInRoot } from "../kernel/index.ts";
import type { Owner } from "./copy-files.ts";

/** The image's, as large as a person could want it. */
const maxDatabaseBytes = 8 * 1024 * 1024;

/**
 * `user[:group]` of --chown, names looked up in the image's etc/passwd and etc/group. A number need not stand there; a group
 * that is left out is named as the user. Docker's words.
 */
export async function resolveOwner(rootFd: number, text: string): Promise<Owner> {
  const parts = text.split(":");
  if (parts.length > 2) throw refused(`invalid chown string format: ${text}`);
  const [user = "", group = user] = parts;
  return {
    uid: await lookUp(rootFd, user, { file: "etc/passwd", kind: "user", id: "uid" }),
    gid: await lookUp(rootFd, group, { file: "etc/group", kind: "group", id: "gid" }),
  };
}

async function lookUp(
  rootFd: number,
  name: string,
  database: { file: string; kind: "user" | "group"; id: "uid" | "gid" },
): Promise<number> {
  if (/^\d{1,10}$/.test(name) && Number(name) < 2 ** 32 - 1) return Number(name);
  for (const line of (await readDatabase(rootFd, database.file)).split("\n")) {
    const [entry, , number] = line.split(":");
    if (entry === name && /^\d+$/.test(number ?? "")) return Number(number);
  }
  const { kind, id } = database;
  throw refused(
    `unable to convert uid/gid chown string to host mapping: can't find ${id} for ${kind} ${name}: no such ${kind}: ${name}`,
  );
}

async function readDatabase(rootFd: number, path: string): Promise<string> {
  const fd = tryOpenInRoot(rootFd, path, { flags: openFlags.readOnly | openFlags.nonBlock });
  if (fd < 0) return "";
  try {
    const bytes = await readFile(`/proc/self/fd/${fd}`);
    return bytes.subarray(0, maxDatabaseBytes).toString("utf8");
  } finally {
    closeFd(fd);
  }
}

/** An octal mode of --chmod. */
export function parseMode(text: string): number {
  if (!/^[0-7]{1,4}$/.test(text)) {
    throw refused(`invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`);
  }
  return Number.parseInt(text, 8);
}

function refused(message: string): EngineError {
  return new EngineError("invalidArgument", message);
}
