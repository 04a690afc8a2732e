// The commands of Redis 8 and Valkey 9, and of their modules that AWS offers, as data: where keys stand, how many arguments there
// are, and what is refused. A test compares it with what a real server answers to COMMAND.
// https://redis.io/docs/latest/commands/ https://valkey.io/commands/
import { type KeyFinder, keysAfter, keysOfGeo, keysOfSort, keysOfStreams } from "./key.ts";

/** First key, last key (negative: from the end), step; or who finds them. */
type Places = readonly [first: number, last: number, step: number] | KeyFinder;
/** Names by their number of arguments: with the name, and negative where it is the least. */
type Names = Readonly<{ [arity: string]: string }>;

const none: Places = [0, 0, 0];
const one: Places = [1, 1, 1];
const second: Places = [2, 2, 1];

export const table: readonly (readonly [Places, Names])[] = [
  [
    one,
    {
      "-7": "geosearch xnack",
      "-6": "argrep georadius_ro hexpire hexpireat hpexpire hpexpireat hsetex xackdel xautoclaim xclaim",
      "-5": "arop geoadd georadiusbymember_ro hexpiretime hgetdel hgetex hpersist hpexpiretime hpttl httl vadd xadd xdelex",
      "-4": "ardelrange armset arring arscan arset geodist hmset hset restore vrange vsim xack xrange xrevrange xtrim zadd \
zrange zrangebylex zrangebyscore zrevrange zrevrangebylex zrevrangebyscore bf.insert bf.reserve json.arrinsert json.set",
      "-3": "ardel arinsert arlastitems armget bitpos expire expireat hdel hmget hscan lpos lpush lpushx pexpire pexpireat \
rpush rpushx sadd set smismember srem sscan vemb vlinks xdel xpending xsetid zmscore zrank zrem zrevrank zscan bf.madd \
bf.mexists delifeq json.arrappend json.arrindex json.numincrby json.nummultby json.strappend",
      "-2": "arinfo bitcount bitfield bitfield_ro delex geohash geopos getex hrandfield increx lpop pfadd rpop spop \
srandmember vrandmember xcfgset zpopmax zpopmin zrandmember bf.info json.arrlen json.arrpop json.clear json.del json.forget \
json.get json.objkeys json.objlen json.resp json.strlen json.toggle json.type",
      "2": "arcount arlen arnext decr digest dump expiretime get getdel hgetall hkeys hlen hvals incr llen persist \
pexpiretime pttl scard smembers strlen ttl type vcard vdim vinfo xlen zcard bf.card",
      "3": "append arget arseek decrby getbit getset hexists hget hstrlen incrby incrbyfloat lindex move setnx sismember \
spublish vgetattr vismember vrem zscore bf.add bf.exists",
      "4": "argetrange getrange hincrby hincrbyfloat hsetnx lrange lrem lset ltrim psetex setbit setex setrange substr \
vsetattr zcount zincrby zlexcount zremrangebylex zremrangebyrank zremrangebyscore bf.load",
      "5": "json.arrtrim linsert xidmprecord",
    },
  ],
  [
    [1, 2, 1],
    {
      ...{ "-8": "geosearchstore", "-6": "blmovem", "-5": "lmovem zrangestore", "-3": "copy lcs" },
      ...{ "3": "rename renamenx rpoplpush", "4": "brpoplpush smove", "5": "lmove", "6": "blmove" },
    },
  ],
  [[1, -2, 1], { "-3": "blpop brpop bzpopmax bzpopmin json.mget" }],
  [
    [1, -1, 1],
    {
      "-3": "sdiffstore sinterstore sunionstore",
      "-2": "del exists mget pfcount pfmerge sdiff sinter ssubscribe sunion touch unlink watch",
      "-1": "sunsubscribe",
    },
  ],
  [[1, -1, 2], { "-3": "mset msetnx" }],
  [[1, -1, 3], { "-4": "json.mset" }],
  [[2, -1, 1], { "-4": "bitop" }],
  [second, { "3": "pfdebug object|encoding object|freq object|idletime object|refcount xinfo|groups" }],
  [second, { "-3": "memory|usage xinfo|stream", "4": "xgroup|destroy xinfo|consumers" }],
  [second, { "-5": "xgroup|create xgroup|setid himport|set", "5": "xgroup|createconsumer xgroup|delconsumer" }],
  [keysOfSort, { "-2": "sort sort_ro" }],
  [keysOfGeo, { "-6": "georadius", "-5": "georadiusbymember" }],
  [keysOfStreams(1), { "-4": "xread" }],
  [keysOfStreams(4), { "-7": "xreadgroup" }],
  [keysAfter(1), { "-4": "lmpop zmpop", "-3": "sdiffcard sintercard sunioncard zdiff zinter zintercard zunion" }],
  [keysAfter(1, { step: 2 }), { "-4": "msetex" }],
  [keysAfter(2), { "-5": "blmpop bzmpop", "-3": "eval eval_ro evalsha evalsha_ro fcall fcall_ro" }],
  [keysAfter(2, { also: 1 }), { "-4": "zdiffstore zinterstore zunionstore" }],
  [
    none,
    {
      "-3": "psync",
      "-2": "auth psubscribe scan subscribe",
      "-1": "bgsave failover flushall flushdb hello info lolwut ping punsubscribe quit replconf shutdown unsubscribe",
      "1": "asking bgrewriteaof dbsize discard exec lastsave monitor multi pfselftest randomkey readonly readwrite reset \
role save sync time unwatch",
      "2": "echo keys select",
      "3": "publish replicaof slaveof swapdb wait",
      "4": "waitaof",
      "-5": "trimslots",
    },
  ],
  // containers, and their subcommands
  [
    none,
    {
      "-2": "acl backup client cluster commandlog config debug function himport hotkeys latency memory module object pubsub \
script slowlog xgroup xinfo",
      "-1": "command",
    },
  ],
  [
    none,
    { "-2": "acl|cat acl|genpass acl|log", "-3": "acl|deluser acl|setuser", "-4": "acl|dryrun", "3": "acl|getuser" },
  ],
  [none, { "2": "acl|help acl|list acl|load acl|save acl|users acl|whoami" }],
  [
    none,
    {
      "-2": "client|capa client|list",
      "-3": "client|kill client|pause client|tracking client|unblock",
      "2": "client|getname client|getredir client|help client|id client|info client|trackinginfo client|unpause",
      "3": "client|caching client|import-source client|no-evict client|no-touch client|reply client|setname",
      "4": "client|setinfo",
    },
  ],
  [
    none,
    {
      "-4": "cluster|slot-stats",
      "2": "cluster|help cluster|info cluster|links cluster|myid cluster|myshardid cluster|nodes cluster|shards cluster|slots",
      "3": "cluster|count-failure-reports cluster|countkeysinslot cluster|keyslot cluster|replicas cluster|slaves",
      "4": "cluster|getkeysinslot",
    },
  ],
  [none, { "2": "command|count command|help", "-2": "command|docs command|info command|list" }],
  [none, { "-3": "command|getkeys command|getkeysandflags" }],
  [none, { "-2": "function|flush function|list", "-3": "function|load function|restore", "3": "function|delete" }],
  [none, { "2": "function|dump function|help function|kill function|stats" }],
  [none, { "-2": "latency|histogram latency|reset", "2": "latency|doctor latency|help latency|latest" }],
  [none, { "3": "latency|graph latency|history", "2": "memory|doctor memory|help memory|malloc-stats" }],
  [
    none,
    { "2": "memory|purge memory|stats object|help xgroup|help xinfo|help slowlog|help slowlog|len slowlog|reset" },
  ],
  [none, { "-2": "pubsub|channels pubsub|numsub pubsub|shardchannels pubsub|shardnumsub slowlog|get" }],
  [none, { "2": "pubsub|help pubsub|numpat script|help script|kill", "3": "script|load script|debug script|show" }],
  [none, { "-3": "script|exists", "-2": "script|flush", "3": "himport|discard", "-4": "himport|prepare" }],
  [none, { "2": "himport|discardall hotkeys|get hotkeys|help hotkeys|reset hotkeys|stop", "-2": "hotkeys|start" }],
];

/** Not through a proxy, with all of their subcommands: they rule the server, copy it, or show what others do. */
export const refusedNames =
  "backup bgrewriteaof bgsave config debug failover migrate module monitor pfdebug pfselftest psync replconf replicaof \
restore-asking save shutdown slaveof sync trimslots";
/** Containers of which only what stands in the table passes, and of that not this. */
export const closedNames = "acl cluster";
export const refusedSubcommands = "acl|deluser acl|load acl|save acl|setuser";
export const scriptNames = "eval eval_ro evalsha evalsha_ro fcall fcall_ro function script";
export const loginNames = "auth hello";
export const blockingNames =
  "blmove blmovem blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin wait waitaof xread xreadgroup";
