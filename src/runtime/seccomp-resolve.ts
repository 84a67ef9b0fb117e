import { EngineError } from "../common/index.ts";
import type { OciSeccomp, OciSyscall } from "../spec/index.ts";
import { auditArchitectures, type SeccompArchitecture } from "./seccomp-calls.ts";
import type { SeccompFilter, SeccompProfile, SeccompRule } from "./seccomp-profile.ts";

/** What a profile's conditions are decided against. */
export interface SeccompTarget {
  /** The container's bounding set, with `CAP_` prefixes. */
  readonly capabilities: readonly string[];
  readonly architecture: "x64" | "arm64";
  /** As uname(2) gives it: `6.1.0-13-amd64`. */
  readonly kernelRelease: string;
}

const goArchitecture = { x64: "amd64", arm64: "arm64" } as const;
const nativeArchitecture = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" } as const;

/**
 * Decides `includes` and `excludes` of Docker's profile format and gives what OCI knows (`linux.seccomp`). Undefined for a profile
 * that says nothing, which Docker takes as unconfined. Throws invalidArgument for one that contradicts itself.
 */
export function resolveSeccomp(profile: SeccompProfile, target: SeccompTarget): OciSeccomp | undefined {
  const rules = profile.syscalls ?? [];
  if (!profile.defaultAction && rules.length === 0) return undefined;
  const listed = profile.architectures ?? [];
  const mapped = profile.archMap ?? [];
  if (listed.length > 0 && mapped.length > 0) {
    throw new EngineError(
      "invalidArgument",
      "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
    );
  }
  const native = nativeArchitecture[target.architecture];
  const entry = mapped.find(({ architecture }) => architecture === native);
  const architectures = entry ? [native, ...(entry.subArchitectures ?? [])] : listed;
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet != null && { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: architectures.length > 0 ? architectures : [native],
    ...(profile.flags?.length && { flags: profile.flags }),
    syscalls: rules.filter((rule) => applies(rule, target)).map(toOciRule),
  };
}

function applies(rule: SeccompRule, target: SeccompTarget): boolean {
  const architecture = goArchitecture[target.architecture];
  const { includes, excludes } = rule;
  if (excludes?.arches?.includes(architecture)) return false;
  if (excludes?.caps?.some((name) => target.capabilities.includes(name))) return false;
  if (excludes?.minKernel && kernelAtLeast(target.kernelRelease, excludes.minKernel)) return false;
  if (includes?.arches?.length && !includes.arches.includes(architecture)) return false;
  if (includes?.caps?.some((name) => !target.capabilities.includes(name))) return false;
  return kernelMatches(includes, target);
}

function kernelMatches(includes: SeccompFilter | null | undefined, target: SeccompTarget): boolean {
  return !includes?.minKernel || kernelAtLeast(target.kernelRelease, includes.minKernel);
}

function kernelAtLeast(release: string, minimum: string): boolean {
  const wanted = /^(\d+)\.(\d+)$/.exec(minimum);
  if (!wanted) {
    throw new EngineError("invalidArgument", `minKernel "${minimum}" of the seccomp profile is not <major>.<minor>`);
  }
  const [major = 0, minor = 0] = release.split(".").map((part) => parseInt(part, 10));
  return major > Number(wanted[1]) || (major === Number(wanted[1]) && minor >= Number(wanted[2]));
}

function toOciRule(rule: SeccompRule): OciSyscall {
  if (rule.name && rule.names?.length) {
    throw new EngineError(
      "invalidArgument",
      "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
    );
  }
  const names = rule.name ? [rule.name] : (rule.names ?? []);
  return {
    names,
    action: rule.action,
    ...(rule.errnoRet != null && { errnoRet: rule.errnoRet }),
    ...(rule.args?.length && { args: rule.args }),
  };
}

/** The architectures of a resolved profile that this compiler knows. Throws unsupported when it names another one. */
export function knownArchitectures(seccomp: OciSeccomp): SeccompArchitecture[] {
  return seccomp.architectures.map((name) => {
    if (name in auditArchitectures) return name as SeccompArchitecture;
    throw new EngineError("unsupported", `seccomp profile names architecture "${name}", which is not supported`);
  });
}
