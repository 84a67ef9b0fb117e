import type { ContainerPort } from "../spec/index.ts";
import { formatDuration } from "../common/index.ts";

/** Cuts to `width` columns, the last of which is `…`, as docker's Ellipsis. */
export function ellipsis(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  let cut = "";
  for (const character of text) {
    if (Bun.stringWidth(cut + character) > width - 1) break;
    cut += character;
  }
  return `${cut}…`;
}

/** `3 hours ago` for a time in Unix milliseconds. */
export function ago(timeMs: number): string {
  return `${formatDuration(Date.now() - timeMs)} ago`;
}

/** Go's time.Time.String in the local zone: `2006-01-02 15:04:05 +0000 UTC`. */
export function goTime(timeMs: number): string {
  const date = new Date(timeMs);
  const offset = -date.getTimezoneOffset();
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  const local = new Date(timeMs + offset * 60_000).toISOString();
  const sign = offset < 0 ? "-" : "+";
  const zone = `${sign}${two(Math.abs(offset) / 60)}${two(Math.abs(offset) % 60)}`;
  const name = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(date);
  const zoneName = name.find((part) => part.type === "timeZoneName")?.value ?? zone;
  return `${local.slice(0, 10)} ${local.slice(11, 19)} ${zone} ${zoneName}`;
}

/** RFC 3339 with the local offset: `2006-01-02T15:04:05Z`. */
export function rfc3339(timeMs: number): string {
  const offset = -new Date(timeMs).getTimezoneOffset();
  const local = new Date(timeMs + offset * 60_000).toISOString().slice(0, 19);
  if (offset === 0) return `${local}Z`;
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  return `${local}${offset < 0 ? "-" : "+"}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
}

/** Labels as docker lists them: sorted `k=v`, comma-separated. */
export function joinLabels(labels: Readonly<Record<string, string>> | null | undefined): string {
  return Object.entries(labels ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(",");
}

/** `0.0.0.0:80->80/tcp, 9988/tcp`: neighbouring ports are joined to ranges, as docker's DisplayablePorts. */
export function displayPorts(ports: readonly ContainerPort[]): string {
  const sorted = [...ports].sort(
    (left, right) =>
      left.PrivatePort - right.PrivatePort ||
      compare(left.IP ?? "", right.IP ?? "") ||
      (left.PublicPort ?? 0) - (right.PublicPort ?? 0) ||
      compare(left.Type, right.Type),
  );
  const groups = new Map<string, { first: number; last: number }>();
  const result: string[] = [];
  const mapped: string[] = [];
  for (const port of sorted) {
    if (port.IP && port.PublicPort !== port.PrivatePort) {
      mapped.push(`${hostPort(port.IP, port.PublicPort ?? 0)}->${port.PrivatePort}/${port.Type}`);
      continue;
    }
    const key = port.IP ? `${port.IP}/${port.Type}` : port.Type;
    const group = groups.get(key);
    if (group?.last === port.PrivatePort - 1) {
      group.last = port.PrivatePort;
      continue;
    }
    if (group) result.push(formGroup(key, group));
    groups.set(key, { first: port.PrivatePort, last: port.PrivatePort });
  }
  for (const [key, group] of groups) result.push(formGroup(key, group));
  return [...result, ...mapped].join(", ");
}

function formGroup(key: string, group: { first: number; last: number }): string {
  const slash = key.lastIndexOf("/");
  const range = group.first === group.last ? String(group.first) : `${group.first}-${group.last}`;
  if (slash < 0) return `${range}/${key}`;
  const ip = key.slice(0, slash);
  return `${ip.includes(":") ? `[${ip}]` : ip}:${range}->${range}/${key.slice(slash + 1)}`;
}

function hostPort(ip: string, port: number): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
