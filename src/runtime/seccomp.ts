import { readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import type { OciSeccomp } from "../spec/index.ts";
import { compileFilter } from "./seccomp-compile.ts";
import type { SeccompProfile } from "./seccomp-profile.ts";
import { resolveSeccomp } from "./seccomp-resolve.ts";

export interface SeccompContext {
  /** The container's bounding set, with `CAP_` prefixes. */
  readonly capabilities: readonly string[];
  /** Of the machine; the default is this one's. */
  readonly architecture?: "x64" | "arm64";
}

/** Profiles resolved before, by the profile itself and the capabilities that decided its rules. */
const resolved = new WeakMap<SeccompProfile, Map<string, OciSeccomp | undefined>>();
/** Programs compiled before. */
const compiled = new WeakMap<OciSeccomp, SeccompProgram>();
const maxResolvedPerProfile = 64;

/** A compiled profile as a plan carries and tells it. */
export interface SeccompProgram {
  readonly hex: string;
  /** How many names it lets pass, perhaps under conditions. */
  readonly allowedNames: number;
}

let kernelRelease: string | undefined;

/** The profile with its conditions decided; the same object for the same profile and capabilities. Undefined: unconfined. */
export function decideSeccomp(profile: SeccompProfile, context: SeccompContext): OciSeccomp | undefined {
  const architecture = context.architecture ?? thisArchitecture();
  const key = `${architecture} ${[...context.capabilities].sort().join(" ")}`;
  const known = resolved.get(profile) ?? new Map<string, OciSeccomp | undefined>();
  if (known.has(key)) return known.get(key);
  kernelRelease ??= readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
  const seccomp = resolveSeccomp(profile, { capabilities: context.capabilities, architecture, kernelRelease });
  if (known.size >= maxResolvedPerProfile) known.clear();
  resolved.set(profile, known.set(key, seccomp));
  return seccomp;
}

/** A profile as a BPF program: bytes of a sock_filter array. Throws for a profile that says nothing. */
export function compileSeccomp(profile: SeccompProfile, context: SeccompContext): Uint8Array {
  const seccomp = decideSeccomp(profile, context);
  if (!seccomp) throw new EngineError("invalidArgument", "seccomp profile has neither a default action nor rules");
  return Buffer.from(seccompProgram(seccomp).hex, "hex");
}

/** A decided profile's program, compiled once. */
export function seccompProgram(seccomp: OciSeccomp): SeccompProgram {
  const known = compiled.get(seccomp);
  if (known) return known;
  const allowed = seccomp.syscalls.flatMap(({ names, action }) => (action === "SCMP_ACT_ALLOW" ? names : []));
  const hex = Buffer.from(compileFilter(seccomp)).toString("hex");
  const program = { hex, allowedNames: new Set(allowed).size };
  compiled.set(seccomp, program);
  return program;
}

function thisArchitecture(): "x64" | "arm64" {
  const { arch } = process;
  if (arch === "x64" || arch === "arm64") return arch;
  throw new EngineError("unsupported", `no seccomp profile is known for processor "${arch}"`);
}
