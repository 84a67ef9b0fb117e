export { errnoName, errnoNumber, errnoText } from "./errno.ts";
export { SystemError, check, cstring, errno, libc, ptr, syscall } from "./libc.ts";
export {
  bindReserved,
  boundPort,
  closeDescriptor,
  connectUnix,
  formatEndpoint,
  listenTcp,
  family as socketFamily,
  receiveDescriptor,
  sendDescriptors,
  socketPair,
  socketType,
  type ReceivedMessage,
} from "./sockets.ts";
export {
  openCgroups,
  type BlkioEntry,
  type CgroupLimits,
  type Cgroups,
  type CgroupStats,
  type CgroupSupport,
  type OpenCgroupsOptions,
} from "./cgroups.ts";
export { cpuWeight, ioWeight } from "./cgroup-limits.ts";
export { findCgroupMounts, type CgroupMounts } from "./cgroup-mounts.ts";
export type { DeviceRule } from "./device-rules.ts";
export { parseMountInfo, readMounts, type MountInfo } from "./mountinfo.ts";
export {
  bootId,
  identify,
  isAlive,
  namespaceInodes,
  namespaceNames,
  openPidfd,
  signalProcess,
  startTime,
  type NamespaceName,
  type ProcessIdentity,
} from "./process.ts";
export * from "./files.ts";
export * from "./mount.ts";
export * from "./path-bytes.ts";
export * from "./xattrs.ts";
export { createSubvolume, destroySubvolume, snapshotSubvolume, subvolumeInode } from "./btrfs.ts";
export { Conntrack } from "./conntrack.ts";
export {
  betweenBridges,
  counter,
  forThisHost,
  fromInterface,
  inNetwork,
  jump,
  masquerade,
  ofKnownConnection,
  ofTranslatedConnection,
  outsideGroup,
  toInterface,
  translateBy,
  verdict,
  verdictCode,
  type Expression,
} from "./nft-expressions.ts";
export { NetlinkSocket, netlinkProtocol, readAttributes, readText } from "./netlink.ts";
export {
  NftBatch,
  Nftables,
  nftFamily,
  nftHook,
  type ListedChain,
  type ListedRule,
  type MapElement,
} from "./nftables.ts";
export { RouteSocket, type Link, type Route } from "./rtnetlink.ts";
export { holdLock, lockFile } from "./lock-file.ts";
export { makeTerminalRaw, restoreTerminal } from "./terminal.ts";
