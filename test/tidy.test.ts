import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const root = join(import.meta.dir, "..");
const source = join(root, "src");

/** Top to bottom: a room imports only from rooms above it. */
const rooms = [
  "common",
  "spec",
  "kernel",
  "archive",
  "content",
  "registry",
  "snapshot",
  "image",
  "network",
  "runtime",
  "build",
  "engine",
  "lens",
  "api",
  "cli",
];
const maxLines = 400;
const maxFunctionLines = 70;
const forbiddenWords = ["utils", "helpers", "manager"];

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesBelow(path, ending);
    return entry.name.endsWith(ending) ? [path] : [];
  });
}

const sources = filesBelow(source, ".ts");

function importsOf(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g)].map((match) =>
    resolve(dirname(file), match[1] ?? ""),
  );
}

function roomOf(file: string): string {
  const [room = ""] = relative(source, file).split("/");
  return room;
}

test("every room imports only rooms above it, and only through their index.ts", () => {
  const faults: string[] = [];
  for (const file of sources) {
    const room = roomOf(file);
    if (["main.ts", "daemon.ts", "registry-command.ts"].includes(room)) continue;
    for (const target of importsOf(file)) {
      const other = roomOf(target);
      if (other === room) continue;
      const where = `${relative(root, file)} → ${relative(root, target)}`;
      if (rooms.indexOf(other) < 0 || rooms.indexOf(other) > rooms.indexOf(room)) faults.push(`${where}: not above it`);
      const door = other === "api" ? /api\/(client\/)?index\.ts$/ : /^src\/[a-z]+\/index\.ts$/;
      if (!door.test(relative(root, target))) faults.push(`${where}: not its door`);
    }
  }
  expect(faults).toEqual([]);
});

test("the command line knows only the API client and what is pure", () => {
  const allowed = ["common", "spec", "cli"];
  const faults = sources
    .filter((file) => roomOf(file) === "cli")
    .flatMap((file) =>
      importsOf(file)
        .filter((target) => !allowed.includes(roomOf(target)) && !relative(source, target).startsWith("api/client/"))
        .map((target) => `${relative(root, file)} → ${relative(root, target)}`),
    );
  expect(faults).toEqual([]);
});

test(`no file is longer than ${maxLines} lines`, () => {
  const code = [...sources, ...filesBelow(join(root, "helper"), ".c"), ...filesBelow(join(root, "helper"), ".h")];
  const long = code.map((file) => [relative(root, file), readFileSync(file, "utf8").split("\n").length] as const);
  expect(long.filter(([, lines]) => lines > maxLines + 1)).toEqual([]);
});

test(`no function is longer than ${maxFunctionLines} lines`, () => {
  const faults: string[] = [];
  for (const file of sources) {
    const lines = readFileSync(file, "utf8").split("\n");
    lines.forEach((line, start) => {
      const opening =
        /^(\s*)(?:export )?(?:default )?(?:async )?function\b.*\{$/.exec(line) ??
        /^( {2})(?:async )?[\w#*]+\(.*\{$/.exec(line);
      if (!opening) return;
      const end = lines.findIndex((other, index) => index > start && other === `${opening[1]}}`);
      if (end - start > maxFunctionLines) faults.push(`${relative(root, file)}:${start + 1} has ${end - start} lines`);
    });
  }
  expect(faults).toEqual([]);
});

test("files are named in kebab-case, at most two folders deep, and for what they do", () => {
  const faults = sources
    .map((file) => relative(source, file))
    .filter((file) => {
      const parts = file.split("/");
      const deep = parts[0] === "api" || parts[0] === "cli" ? 3 : 2;
      return (
        parts.length > deep + (parts[0] === "main.ts" ? 0 : 0) ||
        parts.some(
          (part) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.ts)?$/.test(part) || forbiddenWords.includes(part.replace(".ts", "")),
        )
      );
    });
  expect(faults).toEqual([]);
});

test("no source file is dead: each is reached from main.ts", () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const target of importsOf(file)) if (statSync(target, { throwIfNoEntry: false })?.isFile()) visit(target);
    const workers = [...readFileSync(file, "utf8").matchAll(/new URL\("(\.[^"]+)"/g)].map((match) =>
      resolve(dirname(file), match[1] ?? ""),
    );
    for (const worker of workers) if (statSync(worker, { throwIfNoEntry: false })) visit(worker);
  };
  visit(join(source, "main.ts"));
  expect(sources.filter((file) => !seen.has(file)).map((file) => relative(root, file))).toEqual([]);
});
