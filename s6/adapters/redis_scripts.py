"""The Lua scripts of the live state. Each touches keys of one slot only, so Redis Cluster runs them as well.

While that slot moves to another node, a command inside a script fails on a key that its node does not have; what the
script wrote before that stays. So each script finds out all that may stop it before it writes anything, and nothing
touches a key after what may have deleted it: the last field, the last element. Then a script is whole or not at all.
"""

from __future__ import annotations

from typing import Final

# Hashes that others read are written when their text has changed: the state holds the digest of each, and the operation
# itself. A birth is refused where a former life has left a trace: whoever looked before that one began knows nothing of
# it. ``told`` are events for their stream, each as it waits in the outbox and as an XADD; one that the stream refuses
# waits. ``beside`` are commands on keys of other slots. A cluster has neither.
# KEYS: lock, state, sl, tp, adds, op, orders, events, snaps; of a birth or a restored position also its trace
# ARGV: token ("" = not under the lock), expected rev, payload (JSON); 'birth' or 'restore'
# Returns 1 written, 0 somebody else wrote first, -1 the lock is no longer ours.
COMMIT: Final = """
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local was = redis.call('HMGET', KEYS[2], 'rev', '_sl', '_tp', '_adds', '_op')
if (was[1] or '0') ~= ARGV[2] then return 0 end
local trace = #KEYS == 10 and redis.call('EXISTS', KEYS[10]) == 1
if trace and ARGV[4] == 'birth' then return 0 end
local p = cjson.decode(ARGV[3])
local function each(list, act)
  for i = 1, #list, 200 do act(unpack(list, i, math.min(i + 199, #list))) end
end
local gone = trace and {KEYS[10]} or {}
each(p.state, function(...) redis.call('HSET', KEYS[2], ...) end)
for n, shown in ipairs({p.sl, p.tp, p.adds, p.op}) do
  local key = KEYS[2 + n]
  if was[1 + n] ~= shown[1] or p.whole then
    if #shown[2] == 0 then table.insert(gone, key) else redis.call('HSET', key, unpack(shown[2])) end
  end
end
each(p.orders, function(...) redis.call('HSET', KEYS[7], ...) end)
for _, e in ipairs(p.told) do
  if redis.pcall('XADD', unpack(e[2])).err then table.insert(p.events, e[1]) end
end
each(p.events, function(...) redis.call('RPUSH', KEYS[8], ...) end)
each(p.snaps, function(...) redis.call('RPUSH', KEYS[9], ...) end)
for _, command in ipairs(p.beside) do redis.call(unpack(command)) end
if #gone > 0 then redis.call('DEL', unpack(gone)) end
return 1
"""

# Take a position that closed out of its symbol's open ones, unless it was written since.
# KEYS: state, closed, open ones · ARGV: rev, position, time
SETTLED: Final = """
if redis.call('HGET', KEYS[1], 'rev') ~= ARGV[1] then return 0 end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('SREM', KEYS[3], ARGV[2])
return 1
"""

# KEYS: lock · ARGV: token
RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# KEYS: lock · ARGV: token, ms
PROLONG: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""

# The newest wins; what is kept under a later time than is possible gives way.
# KEYS: hash · ARGV: ts, latest possible ts, then field, value ...
PUT_NEWER: Final = """
local have = redis.call('HGET', KEYS[1], 'ts')
if have and tonumber(have) > tonumber(ARGV[1]) and tonumber(have) <= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1
"""

# Decimal strings can't be compared in Lua without a float, so the caller compares and this only guards the swap.
# KEYS: hash · ARGV: expected 'n' ('' = absent), then field, value ...
SWAP: Final = """
local n = redis.call('HGET', KEYS[1], 'n') or ''
if n ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], 600000)
return 1
"""

# The same of what stays until it is taken off.
RESERVE: Final = """
local n = redis.call('HGET', KEYS[1], 'n') or ''
if n ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
"""

# KEYS: hash · ARGV: field, what its value must begin with
TAKE_OFF: Final = """
local text = redis.call('HGET', KEYS[1], ARGV[1])
if text and string.sub(text, 1, #ARGV[2]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
"""

# Take finished orders off, each unless it has been written anew. KEYS: hash · ARGV: field, value as it was seen, ...
PRUNE: Final = """
local stale = {}
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then table.insert(stale, ARGV[i]) end
end
if #stale == 0 then return 0 end
return redis.call('HDEL', KEYS[1], unpack(stale))
"""

# KEYS: hash · ARGV: expected 'n'
DROP_IF: Final = """
if redis.call('HGET', KEYS[1], 'n') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# Take what was relayed off a list and give the claim back, unless more has come: then the claim stays ours.
# KEYS: claim, list · ARGV: token, count · Returns what is left, or -1 when the claim was lost (nothing is dropped).
RELAYED: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local left = math.max(0, redis.call('LLEN', KEYS[2]) - tonumber(ARGV[2]))
redis.call('LTRIM', KEYS[2], ARGV[2], -1)
if left == 0 then redis.call('DEL', KEYS[1]) end
return left
"""

# Take the first n (0: none) off a list of JSON documents, if the n-th still is the one with that _key.
# KEYS: list, another list · ARGV: n, _key · Returns the length of the other list.
DROP_TO: Final = """
local others = redis.call('LLEN', KEYS[2])
local n = tonumber(ARGV[1])
local text = n > 0 and redis.call('LINDEX', KEYS[1], n - 1)
if text and cjson.decode(text)['_key'] == ARGV[2] then redis.call('LTRIM', KEYS[1], n, -1) end
return others
"""

# KEYS: zset · ARGV: member, score as it was seen, ... · Returns how many were taken off.
DONE_UNLESS_MORE: Final = """
local names, done = {}, {}
for i = 1, #ARGV, 2 do table.insert(names, ARGV[i]) end
for n, score in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(names))) do
  if score and tonumber(score) <= tonumber(ARGV[2 * n]) then table.insert(done, names[n]) end
end
if #done == 0 then return 0 end
return redis.call('ZREM', KEYS[1], unpack(done))
"""

# Take a closed position off for good, in one command, if nothing of it waits for others; a trace of it stays.
# KEYS: trace, state, events, snaps, then all else that is kept of it · ARGV: rev, then field, value ... of the trace
FORGET: Final = """
local known = redis.call('HMGET', KEYS[2], 'status', 'rev')
if known[1] ~= 'CLOSED' or known[2] ~= ARGV[1] then return 0 end
if redis.call('LLEN', KEYS[3]) + redis.call('LLEN', KEYS[4]) > 0 then return 0 end
redis.call('EXISTS', unpack(KEYS))
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('DEL', unpack(KEYS, 2))
return 1
"""

# A counter moved exactly once per id.
# KEYS: counter, applied (zset, same slot) · ARGV: id, expected, new, now, keep_from
# Returns 1 applied, 0 was applied before, -1 the counter has changed.
QUOTA: Final = """
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return -1 end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[5])
redis.call('SET', KEYS[1], ARGV[3])
return 1
"""
