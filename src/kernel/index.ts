export { errnoName, errnoNumber, errnoText } from "./errno.ts";
export { SystemError, check, cstring, errno, libc, ptr, syscall } from "./libc.ts";
export {
  bindReserved,
  boundPort,
  closeDescriptor,
  connectUnix,
  formatEndpoint,
  listenTcp,
  receiveDescriptor,
  sendDescriptors,
  socketPair,
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
