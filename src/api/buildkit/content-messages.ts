// A client's folder of blobs, which local caches and layouts are in (containerd, api/services/content/v1/content.proto).
import { bytes, integer, message, one, text } from "./protobuf.ts";

const info = message<{ digest: string; size: number }>({ digest: text(1), size: integer(2) });

export interface WriteContent {
  action: number;
  ref: string;
  total: number;
  expected: string;
  offset: number;
  data: Uint8Array;
}

export const writeActions = { stat: 0, write: 1, commit: 2 } as const;

/** Names the folder among those that a client offers: `local:` and its path for caches. */
export const storeHeader = "buildkit-attachable-store-id";

export const contentMethods = {
  info: {
    path: "/containerd.services.content.v1.Content/Info",
    request: message<{ digest: string }>({ digest: text(1) }),
    response: message<{ info: { digest: string; size: number } | undefined }>({ info: one(1, info) }),
  },
  read: {
    path: "/containerd.services.content.v1.Content/Read",
    request: message<{ digest: string; offset: number; size: number }>({
      digest: text(1),
      offset: integer(2),
      size: integer(3),
    }),
    response: message<{ offset: number; data: Uint8Array }>({ offset: integer(1), data: bytes(2) }),
  },
  write: {
    path: "/containerd.services.content.v1.Content/Write",
    request: message<WriteContent>({
      action: integer(1),
      ref: text(2),
      total: integer(3),
      expected: text(4),
      offset: integer(5),
      data: bytes(6),
    }),
    response: message<{ action: number; offset: number; total: number; digest: string }>({
      action: integer(1),
      offset: integer(4),
      total: integer(5),
      digest: text(6),
    }),
  },
} as const;
