// The file that docker's command line keeps: ~/.docker/config.json, with its keys and its layout.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { CommandFailure } from "./usage-error.ts";

interface StoredAuth {
  auth?: string;
  identitytoken?: string;
}

/** What of the file is used here; whatever else is in it stays as it is. */
export interface DockerConfig {
  auths?: Record<string, StoredAuth>;
  /** Credential helper for every registry, and for single ones: `pass` means the program `docker-credential-pass`. */
  credsStore?: string;
  credHelpers?: Record<string, string>;
  [other: string]: unknown;
}

export function dockerConfigPath(): string {
  return join(process.env["DOCKER_CONFIG"] || join(homedir(), ".docker"), "config.json");
}

/** An absent or empty file is an empty config. Throws what is wrong with the file. */
export function readDockerConfig(path = dockerConfigPath()): DockerConfig {
  if (!existsSync(path)) return {};
  const text = readFileSync(path, "utf8");
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as DockerConfig;
  } catch (thrown) {
    throw new CommandFailure(`WARNING: Error loading config file: ${path}: ${(thrown as Error).message}`);
  }
  throw new CommandFailure(`WARNING: Error loading config file: ${path}: it holds no JSON object`);
}

/** Replaces the file as a whole, readable by its owner alone; a link to it stays one. */
export function writeDockerConfig(config: DockerConfig, path = dockerConfigPath()): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  const target = isLink && existsSync(path) ? realpathSync(path) : path;
  const temporary = `${target}.${process.pid}`;
  try {
    writeFileSync(temporary, JSON.stringify(config, null, "\t"), { mode: 0o600 });
    chmodSync(temporary, 0o600);
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { force: true });
  }
}
