import { readXattr, type FileStat, type XattrTarget } from "../kernel/index.ts";

/** OCI image spec, layer.md: `.wh.x` deletes x of the layers below, `.wh..wh..opq` everything below its directory. */
export const whiteoutPrefix = ".wh.";
export const opaqueName = ".wh..wh..opq";

/** The kernel's forms: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories". */
export const opaqueAttribute = "trusted.overlay.opaque";
const userOpaqueAttribute = "user.overlay.opaque";

export function isWhiteout(stat: FileStat): boolean {
  return stat.type === "character" && stat.rdevMajor === 0 && stat.rdevMinor === 0;
}

/** Whether nothing of the layers below shows in this directory. */
export function isOpaque(directory: XattrTarget): boolean {
  const value = readXattr(directory, opaqueAttribute) ?? readXattr(directory, userOpaqueAttribute);
  return value !== undefined && value[0] === 0x79;
}
