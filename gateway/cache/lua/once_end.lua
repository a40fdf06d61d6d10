-- once_end.lua: the call that was charged under an Idempotency-Key has ended, and its charge stays.
--
-- KEYS[1] once  string  as in once.lua
-- ARGV[1] receipt of that charge
--
-- Returns 1; 0 if the key is not that charge's (any more).
--
-- Cost: O(1).
local own = redis.call('GET', KEYS[1]) or ''
local rest, receipt = string.match(own, '^%d+(|%d+|%d+|[^|]*|(.*))$')
if receipt ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], '0' .. rest, 'KEEPTTL')
return 1
