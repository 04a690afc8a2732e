// CRC-32C, which may stand behind an OP_MSG. RFC 3720 appendix B.4: polynomial 0x1edc6f41, reflected.
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  return crc;
});

/** Goes on from `before`, which is 0 at the start. */
export const crc32c = (bytes: Uint8Array, before = 0, from = 0, to = bytes.length): number => {
  let crc = ~before;
  for (let at = from; at < to; at++) crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  return ~crc >>> 0;
};
