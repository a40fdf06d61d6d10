-- renew.lua: calls that are still in progress keep their places for another while.
--
-- KEYS[1] live  sorted set  as in charge.lua
-- ARGV[1] now_ms, 0 = the server's own clock
-- then ids of calls, 1 or more
--
-- Returns how many of them had lost their place, and have it again: also beyond the limit, for they
-- are in progress, whatever the server has forgotten.
--
-- Cluster: one key.   Cost: O(ids * log calls in progress).
local LIVE_MS = 30000 -- keyspace.LIVE_MS
local now = ARGV[1] + 0
if now == 0 then
  local time = redis.call('TIME')
  local us = time[2] + 0
  now = time[1] * 1000 + (us - us % 1000) / 1000
end
local ends, writes = string.format('%d', now + LIVE_MS), {}
for i = 2, #ARGV do
  writes[2 * i - 3], writes[2 * i - 2] = ends, ARGV[i]
end
local added = redis.call('ZADD', KEYS[1], unpack(writes))
redis.call('PEXPIRE', KEYS[1], LIVE_MS)
return added
