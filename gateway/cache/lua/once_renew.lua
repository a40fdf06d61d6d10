-- once_renew.lua: the call that was charged under an Idempotency-Key goes on.
--
-- KEYS[1] once  string  as in once.lua
-- ARGV[1] receipt of that charge   ARGV[2] now_ms, 0 = the server's own clock
-- ARGV[3] ms after which it is taken for lost, if this is not said again
--
-- Returns 1; 0 if the key is not that charge's (any more), or the call has ended.
--
-- Laws. A call that has ended is not in flight again, whatever is said of it later. The key of one that goes on is
-- kept until it is taken for lost, also beyond what it is kept for.
--
-- Cost: O(1).
local own = redis.call('GET', KEYS[1]) or ''
local busy_until, ends_at, rest, receipt = string.match(own, '^(%d+)|(%d+)(|%d+|[^|]*|(.*))$')
if receipt ~= ARGV[1] or busy_until == '0' then return 0 end
local now = ARGV[2] + 0
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local lost_at = now + ARGV[3]
redis.call('SET', KEYS[1], string.format('%d|%d', lost_at, math.max(ends_at + 0, lost_at)) .. rest, 'KEEPTTL')
if redis.call('PTTL', KEYS[1]) < ARGV[3] + 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
