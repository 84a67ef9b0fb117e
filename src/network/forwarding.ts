// Forwarding between links: the one switch that all engines of a host share.
import { readFileSync, writeFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import type { ListedChain } from "../kernel/index.ts";
import { guardChain } from "./ruleset.ts";

const ipForward = "/proc/sys/net/ipv4/ip_forward";

export function isForwarding(): boolean {
  return readFileSync(ipForward, "utf8").trim() !== "0";
}

/**
 * Whether our table must keep other links' forwarding shut: it was off before us, or before another engine that keeps it shut
 * now and may leave before us. A guard of our own from before a crash counts too.
 */
export function needsGuard(chains: readonly ListedChain[]): boolean {
  return !isForwarding() || chains.some((chain) => chain.name === guardChain);
}

/** Call once the guard stands: then nobody's packets pass in between. */
export function switchForwardingOn(): void {
  if (!isForwarding()) writeSetting(ipForward, "1");
}

/**
 * Puts the switch back as the guard's engine leaves. `otherGuards` tells whether another engine's guard stands: it is asked again
 * after `removeTable`, since one may have come meanwhile and relied on the switch.
 */
export function switchForwardingBack(options: { otherGuards: () => boolean; removeTable: () => void }): void {
  if (!options.otherGuards()) writeSetting(ipForward, "0");
  options.removeTable();
  if (options.otherGuards()) switchForwardingOn();
}

/** Connections from 127.0.0.1 to a published port leave by the bridge and come back by it. */
export function letLoopbackIn(bridge: string): void {
  writeSetting(`/proc/sys/net/ipv4/conf/${bridge}/route_localnet`, "1");
}

function writeSetting(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new EngineError("permissionDenied", `Cannot write "${value}" to "${path}": ${words}`, { cause });
  }
}
