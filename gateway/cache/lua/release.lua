-- release.lua: a call has ended, and its places are free.
--
-- KEYS[...] live  sorted set  as in charge.lua
-- ARGV[1] id of the call
--
-- Returns how many places it had. One that it does not have any more is no error: it has expired.
--
-- Cluster: all keys share the {customer} tag.   Cost: O(log calls in progress) for each key.
local had = 0
for i = 1, #KEYS do had = had + redis.call('ZREM', KEYS[i], ARGV[1]) end
return had
