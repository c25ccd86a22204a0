"""The archive: the log in a bucket of an S3 server, where objects that are locked can't be removed before their day.

layout    names of objects, and manifests
bucket    the S3 server: every call to it, and what to say when one fails
holdings  what the bucket has: manifests with the versions that they name
upload    bringing the archive up to the store
verify    is all of it there, and is it what was signed?
restore   a store made of the archive alone
"""
