module remora/tests/xray-daemon

go 1.26

require (
	github.com/aws/aws-sdk-go v1.44.62
	github.com/aws/aws-xray-daemon v3.0.1+incompatible
	github.com/cihub/seelog v0.0.0-20170130134532-f561c5e57575
	github.com/shirou/gopsutil v2.19.10+incompatible
	golang.org/x/net v0.38.0
	gopkg.in/yaml.v2 v2.2.8
)
