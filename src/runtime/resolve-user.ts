import { EngineError } from "../common/index.ts";
import type { ResolvedUser } from "../spec/index.ts";
import { readRootFile, type RootView } from "./root-file.ts";

export interface UserRequest {
  /** `USER[:GROUP]`, each a name or a number; empty: root. */
  readonly user: string;
  /** `--group-add`: names or numbers. */
  readonly groupAdd: readonly string[];
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const maxId = 0x7fffffff;
const maxFileBytes = 4 * 1024 * 1024;

/**
 * Looks a user up in the container's own /etc/passwd and /etc/group, by the rules of runc and Docker: a number needs no entry; a
 * name must have one; without `:GROUP` the user's groups are those that name it as a member; with it there are none beside it and
 * `groupAdd`. `root` is a mounted root or the directories of its layers, top first. Throws invalidArgument in Docker's words.
 */
export function resolveUser(root: RootView, request: UserRequest): ResolvedUser {
  const [userPart = "", groupPart = ""] = splitOnce(request.user);
  const users = parsePasswd(readRootFile(root, "/etc/passwd", maxFileBytes));
  const groups = parseGroup(readRootFile(root, "/etc/group", maxFileBytes));
  const user = findUser(users, userPart);
  const primary = groupPart === "" ? user.gid : findGroup(groups, groupPart);
  const memberOf =
    groupPart === "" && user.name !== "" ? groups.filter(({ members }) => members.includes(user.name)) : [];
  // The primary group is among them: else a process could drop it, and pass where "not this group" was meant to stop it.
  const supplementary = new Set([primary, ...memberOf.map(({ gid }) => gid)]);
  for (const name of request.groupAdd) supplementary.add(findAddedGroup(groups, name));
  return {
    uid: user.uid,
    gid: primary,
    groups: [...supplementary].sort((left, right) => left - right),
    home: user.home,
  };
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf(":");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function findUser(users: readonly PasswdEntry[], text: string): PasswdEntry {
  const wanted = text === "" ? "0" : text;
  const number = parseId(wanted);
  const entry = users.find(({ name, uid }) => name === wanted || uid === number);
  if (entry) return entry;
  if (number === undefined) {
    throw new EngineError("invalidArgument", `unable to find user ${wanted}: no matching entries in passwd file`);
  }
  return { name: "", uid: checkRange(number), gid: 0, home: "/" };
}

function findGroup(groups: readonly GroupEntry[], text: string): number {
  const number = parseId(text);
  const entry = groups.find(({ name }) => name === text);
  if (entry) return entry.gid;
  if (number === undefined) {
    throw new EngineError("invalidArgument", `unable to find group ${text}: no matching entries in group file`);
  }
  return checkRange(number);
}

function findAddedGroup(groups: readonly GroupEntry[], text: string): number {
  const entry = groups.find(({ name }) => name === text);
  if (entry) return entry.gid;
  const number = parseId(text);
  if (number !== undefined) return checkRange(number);
  throw new EngineError("invalidArgument", `Unable to find group ${text}: no matching entries in group file`);
}

function parseId(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

function checkRange(id: number): number {
  if (id <= maxId) return id;
  throw new EngineError("invalidArgument", `uids and gids must be in range 0-${maxId}, not ${id}`);
}

function parsePasswd(text: string): PasswdEntry[] {
  return fieldsOf(text).flatMap(([name = "", , uid = "", gid = "", , home = ""]) => {
    const numbers = [parseId(uid), parseId(gid)] as const;
    if (name === "" || numbers[0] === undefined || numbers[1] === undefined) return [];
    return [{ name, uid: numbers[0], gid: numbers[1], home: home || "/" }];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return fieldsOf(text).flatMap(([name = "", , gid = "", members = ""]) => {
    const number = parseId(gid);
    if (name === "" || number === undefined) return [];
    return [{ name, gid: number, members: members.split(",").filter((member) => member !== "") }];
  });
}

function fieldsOf(text: string): string[][] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
}
