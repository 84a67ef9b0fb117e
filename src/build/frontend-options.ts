import { EngineError, parseSize } from "../common/index.ts";
import { attestOptions } from "./attest-options.ts";
import type { FrontendOptions } from "./build-request.ts";

/** Options of a build that asks for nothing. */
export const defaultFrontendOptions: FrontendOptions = {
  fileName: "Dockerfile",
  arguments: {},
  labels: {},
  noCache: false,
  addHosts: [],
  networkMode: "default",
  contexts: {},
  pull: false,
  limits: {},
};

/** Attributes that others read: caches are imported by the solve's own request, the rest say how to find the frontend itself. */
const elsewhere = new Set(["cache-imports", "cache-from", "source", "cmdline"]);
const ignorable = new Set(["image-resolve-mode", "multi-platform", "hostname"]);

/**
 * The Dockerfile frontend's attributes as clients of BuildKit send them (docker/buildx `build/opt.go`, moby/buildkit
 * `frontend/dockerui/config.go`). Throws invalidArgument for a bad value and unsupported, by name, for what is not known.
 */
export function frontendOptions(attributes: Readonly<Record<string, string>>): FrontendOptions {
  const named = (prefix: string): Record<string, string> =>
    Object.fromEntries(
      Object.entries(attributes).flatMap(([key, value]) =>
        key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [],
      ),
    );
  const known = new Set([...plainNames, ...elsewhere, ...ignorable]);
  for (const name of Object.keys(attributes)) {
    if (known.has(name) || prefixes.some((prefix) => name.startsWith(prefix))) continue;
    throw new EngineError("unsupported", `The frontend attribute "${name}" is not built yet; leave it out`);
  }
  const epoch = attributes["source-date-epoch"] ?? attributes["build-arg:SOURCE_DATE_EPOCH"];
  return {
    ...defaultFrontendOptions,
    fileName: attributes["filename"] || "Dockerfile",
    target: attributes["target"] || undefined,
    arguments: named("build-arg:"),
    labels: named("label:"),
    noCache: noCacheOf(attributes["no-cache"]),
    platform: attributes["platform"] || undefined,
    addHosts: list(attributes["add-hosts"]).map((entry) => entry.replace("=", ":")),
    networkMode: attributes["force-network-mode"] || "default",
    contexts: named("context:"),
    context: attributes["context"] || undefined,
    pull: attributes["image-resolve-mode"] === "pull",
    sourceDateEpoch: epochOf(epoch),
    attest: attestOptions({ sbom: attributes["attest:sbom"], provenance: attributes["attest:provenance"] }),
    limits: {
      ...(attributes["cgroup-parent"] ? { cgroupParent: attributes["cgroup-parent"] } : {}),
      ...(attributes["shm-size"] ? { shmSize: parseSize(attributes["shm-size"]) } : {}),
      ...(attributes["ulimit"] ? { ulimits: list(attributes["ulimit"]).map(parseUlimit) } : {}),
    },
  };
}

const prefixes = ["build-arg:", "label:", "context:", "input-metadata:"];
const plainNames = [
  "attest:provenance",
  "attest:sbom",
  "filename",
  "target",
  "no-cache",
  "platform",
  "add-hosts",
  "force-network-mode",
  "context",
  "source-date-epoch",
  "cgroup-parent",
  "shm-size",
  "ulimit",
];

function list(text: string | undefined): string[] {
  return (text ?? "").split(",").filter((entry) => entry !== "");
}

/** Present and empty: every stage. */
function noCacheOf(value: string | undefined): boolean | readonly string[] {
  if (value === undefined) return false;
  return value === "" ? true : list(value);
}

/** Seconds since 1970. */
export function epochOf(text: string | null | undefined): number | undefined {
  if (text === undefined || text === null || text === "") return undefined;
  if (!/^\d{1,12}$/.test(text)) {
    throw new EngineError("invalidArgument", `invalid SOURCE_DATE_EPOCH: "${text}" is no number of seconds`);
  }
  return Number(text);
}

function parseUlimit(text: string): { Name: string; Soft: number; Hard: number } {
  const [, name = "", soft = "", hard = soft] = /^(\w+)=(-?\d+)(?::(-?\d+))?$/.exec(text) ?? [];
  if (name === "") throw new EngineError("invalidArgument", `invalid ulimit argument: ${text}`);
  return { Name: name, Soft: Number(soft), Hard: Number(hard) };
}
