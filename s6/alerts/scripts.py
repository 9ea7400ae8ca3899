"""The alert log's Lua scripts. Their keys share the slot of the stream ``s6:alerts``, by the tag ``{s6:alerts}``.

A script is whole or not at all, also while its slot moves (``s6.adapters.redis_scripts`` says how), so no crash leaves
an alert half written.
"""

from __future__ import annotations

from typing import Final

# Puts an entry into the dead letters once, however many processes read it.
# KEYS: stream, seen · ARGV: keep ms, max, field, value ...
PUT_ASIDE: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
return 1
"""

# An alert that comes again under its id changes nothing. Its document shows that it was raised. A note of its own, kept
# for ARGV[13] ms, shows that it was counted as a repeat (0: no note, as the id won't come again).
# KEYS: stream, quiet, told, fatal, out, notify, the new document, counted
# ARGV: document prefix, alert_id, ts, severity, code, position_id, detail, topic, quiet ms, keep ms, max, people ('1'),
#   counted ms, quiet ms for people
# Returns the alert's id, and 1 if it is new or 0 if it repeats one that was raised already.
RAISE: Final = """
local prefix, id, ts, severity, code, position, detail, topic = unpack(ARGV, 1, 8)
local quiet_ms, keep_ms, most = ARGV[9], ARGV[10], ARGV[11]
if redis.call('EXISTS', KEYS[7], KEYS[8]) > 0 then return {id, 0} end
local known = redis.call('GET', KEYS[2])
if known and redis.call('EXISTS', prefix .. known) == 1 then
  redis.call('HINCRBY', prefix .. known, 'repeats', 1)
  redis.call('HSET', prefix .. known, 'last_ts', ts)
  redis.call('ZINCRBY', KEYS[5], 1, known)
  if ARGV[13] ~= '0' then redis.call('SET', KEYS[8], known, 'PX', ARGV[13]) end
  return {known, 0}
end
redis.call('HSET', KEYS[7], 'alert_id', id, 'ts', ts, 'severity', severity, 'code', code, 'position_id', position,
  'detail', detail, 'topic', topic, 'repeats', 0, 'last_ts', ts)
if severity == 'FATAL' then
  redis.call('SET', KEYS[2], id)
  redis.call('SADD', KEYS[4], id)
else
  redis.call('SET', KEYS[2], id, 'PX', quiet_ms)
  redis.call('PEXPIRE', KEYS[7], keep_ms)
end
redis.call('ZINCRBY', KEYS[5], 1, id)
if ARGV[12] == '1' and redis.call('SET', KEYS[3], id, 'NX', 'PX', ARGV[14]) then
  redis.call('XADD', KEYS[6], 'MAXLEN', 1000, '*', 'alert_id', id)
end
local entry = {'alert_id', id, 'ts', ts, 'severity', severity, 'code', code}
if position ~= '' then table.insert(entry, 'position_id') table.insert(entry, position) end
table.insert(entry, 'detail') table.insert(entry, detail)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', most, '*', unpack(entry))
return {id, 1}
"""

# KEYS: document, fatal, out, quiet · ARGV: alert_id, by, note, ts, keep ms
ACK: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'ack_ts') == 0 then
  redis.call('HSET', KEYS[1], 'ack_by', ARGV[2], 'ack_note', ARGV[3], 'ack_ts', ARGV[4])
  redis.call('ZINCRBY', KEYS[3], 1, ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
return 1
"""

# Removes from the list what has not changed since it was read. KEYS: out · ARGV: id, score seen ...
RELAYED: Final = """
local done = {}
for i = 1, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '-1') == tonumber(ARGV[i + 1]) then
    table.insert(done, ARGV[i])
  end
end
if #done > 0 then redis.call('ZREM', KEYS[1], unpack(done)) end
return #done
"""

# Restores a standing FATAL that the store has and Redis lost.
# KEYS: document, fatal, quiet · ARGV: id, field, value ...
RESTORE: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], ARGV[1], 'NX')
return 1
"""
