"""The control plane's S3 client: boto3, loaded when a session is made, with AWS's whole chain of credentials."""
