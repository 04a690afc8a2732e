// Which of the 16384 slots a key is in: CRC16 of the key, or of what stands between its first braces.
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model

export const slotCount = 16_384;

const braceOpen = 0x7b;
const braceClose = 0x7d;

/** CRC16-CCITT (XMODEM): polynomial 1021, beginning with 0. */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc & 0xffff;
});

export const crc16 = (bytes: Uint8Array, start: number, end: number): number => {
  let crc = 0;
  for (let at = start; at < end; at++) crc = ((crc << 8) & 0xffff) ^ (table[(crc >>> 8) ^ (bytes[at] ?? 0)] ?? 0);
  return crc;
};

/** The slot of the key that stands at `start` up to `end`. An empty tag is none. */
export const slotOf = (bytes: Uint8Array, start: number, end: number): number => {
  for (let at = start; at < end; at++) {
    if (bytes[at] !== braceOpen) continue;
    for (let close = at + 1; close < end; close++) {
      if (bytes[close] !== braceClose) continue;
      if (close === at + 1) break;
      return crc16(bytes, at + 1, close) & (slotCount - 1);
    }
    break;
  }
  return crc16(bytes, start, end) & (slotCount - 1);
};
