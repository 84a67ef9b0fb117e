import { isIP } from "node:net";
import type { DeviceMapping, RestartPolicy, Ulimit } from "../../spec/index.ts";
import { UsageError } from "../usage-error.ts";

export function checkAttach(text: string): void {
  if (!/^(stdin|stdout|stderr)$/i.test(text)) {
    throw new UsageError("valid streams are STDIN, STDOUT and STDERR");
  }
}

export function checkIpAddress(text: string): void {
  if (isIP(text.trim()) === 0) throw new UsageError(`IP address is not correctly formatted: ${text}`);
}

export function checkDnsSearch(text: string): void {
  const domain = text.trim();
  if (domain === ".") return;
  if (!/^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i.test(domain)) {
    throw new UsageError(`${text} is not a valid domain`);
  }
}

/** `host:ip` or `host=ip` as the API has it, `host:ip`; brackets around an IPv6 address go. */
export function parseExtraHost(text: string): string {
  const match = /^([^:=]+)[:=](.+)$/.exec(text);
  if (!match) throw new UsageError(`bad format for add-host: ${JSON.stringify(text)}`);
  const [, name = "", written = ""] = match;
  const address = written.replace(/^\[(.*)\]$/, "$1");
  if (address !== "host-gateway" && isIP(address) === 0) {
    throw new UsageError(`invalid IP address in add-host: ${JSON.stringify(address)}`);
  }
  return `${name}:${address}`;
}

export function checkExtraHost(text: string): void {
  parseExtraHost(text);
}

export function checkLink(text: string): void {
  const parts = text.split(":");
  if (text === "" || parts.length > 2) throw new UsageError(`bad format for links: ${text}`);
}

const kernelSysctls = /^kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$/;

/** Only sysctls that have a namespace may be set. */
export function checkSysctl(text: string): void {
  const [name = ""] = text.split("=");
  const allowed = kernelSysctls.test(name) || name.startsWith("net.") || name.startsWith("fs.mqueue.");
  if (!allowed || !text.includes("=")) throw new UsageError(`sysctl '${text}' is not allowed`);
}

export function checkDeviceRule(text: string): void {
  if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text)) {
    throw new UsageError(`invalid device cgroup format '${text}'`);
  }
}

const ulimitNames =
  /^(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)$/;

/** `nofile=1024:2048`, `nofile=1024`; -1 is unlimited. */
export function parseUlimit(text: string): Ulimit {
  const equals = text.indexOf("=");
  if (equals < 0) throw new UsageError(`invalid ulimit argument: ${text}`);
  const name = text.slice(0, equals);
  if (!ulimitNames.test(name)) throw new UsageError(`invalid ulimit type: ${name}`);
  const limits = text.slice(equals + 1).split(":");
  if (limits.length > 2)
    throw new UsageError(
      `too many limit value arguments - ${text.slice(equals + 1)}, can only have up to two, \`soft[:hard]\``,
    );
  const [soft = 0, hard = soft] = limits.map((limit) => {
    if (!/^-?\d+$/.test(limit))
      throw new UsageError(`strconv.ParseInt: parsing ${JSON.stringify(limit)}: invalid syntax`);
    return Number(limit);
  });
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new UsageError(
      soft === -1
        ? `ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: ${hard}`
        : `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    );
  }
  return { Name: name, Soft: soft, Hard: hard };
}

/** `/dev/a[:/dev/b][:rwm]` */
export function parseDevice(text: string): DeviceMapping {
  const [source = "", second, third, ...more] = text.split(":");
  const isMode = (mode: string): boolean => /^[rwm]{1,3}$/.test(mode) && new Set(mode).size === mode.length;
  if (more.length > 0 || source === "") throw new UsageError(`bad format for path: ${text}`);
  const secondIsMode = second !== undefined && third === undefined && isMode(second);
  const target = second === undefined || secondIsMode || second === "" ? source : second;
  const mode = third ?? (secondIsMode ? second : "rwm");
  if (!target.startsWith("/")) throw new UsageError(`${target} is not an absolute path`);
  if (!isMode(mode ?? "")) throw new UsageError(`bad mode specified: ${mode}`);
  return { PathOnHost: source, PathInContainer: target, CgroupPermissions: mode ?? "rwm" };
}

/** `no`, `always`, `unless-stopped`, `on-failure[:5]`; the engine judges the name. */
export function parseRestartPolicy(text: string): RestartPolicy {
  if (text === "") return {};
  const [name = "", count, ...more] = text.split(":");
  if (more.length > 0) throw new UsageError(`invalid restart policy format: maximum retry count must be an integer`);
  if (name === "") throw new UsageError("invalid restart policy format: no policy provided before colon");
  if (count !== undefined && !/^[+-]?\d+$/.test(count)) {
    throw new UsageError("invalid restart policy format: maximum retry count must be an integer");
  }
  return { Name: name as NonNullable<RestartPolicy["Name"]>, MaximumRetryCount: Number(count ?? 0) };
}
