export { resolveVariable } from "./environment.ts";
export { parseMount } from "./mounts.ts";
export { parseNetwork } from "./networks.ts";
export { toResources } from "./resources.ts";
export { toCreateRequest } from "./to-create-request.ts";
export {
  checkAttach,
  checkDeviceRule,
  checkDnsSearch,
  checkExtraHost,
  checkIpAddress,
  checkLink,
  checkSysctl,
  parseUlimit,
} from "./values.ts";
export { parseRestartPolicy } from "./values.ts";
export { readVariables } from "./environment.ts";
